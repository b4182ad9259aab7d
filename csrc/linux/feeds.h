/*
 * The feeds in use for one job, as one: opened as far as they work here,
 * drained together, given up one by one as they fail.
 */
#ifndef MW_LINUX_FEEDS_H
#define MW_LINUX_FEEDS_H

#include "feed.h"

typedef struct mw_feeds {
    mw_feed *events;  /* proc connector or perf; NULL: none, as the others */
    mw_feed *records; /* taskstats */
    mw_feed *hook;
    uint32_t events_source; /* MW_CONNECTOR or MW_PERF */
    int events_fd;          /* epoll to wake; the caller's */
    uint32_t event;         /* what it is told then */
    int is_listening;       /* to the bell */
    int64_t next_drain;     /* 0: nothing to come back for */
    uint64_t lost;          /* by feeds that were given up */
    uint64_t events_lost;   /* by `events`, when last looked at */
    unsigned incomplete;    /* passes left in which events do not tell all */
    unsigned passes;
    mw_news_list heard;  /* of the events */
    mw_news_list hooked; /* of the hook, and not passed on yet */
    mw_news_list recorded;
    mw_news_list held; /* of the hook, for the next time */
} mw_feeds;

/* Opens what `options` wants; `events_fd` will see `event` when it is time for
   mw_feeds_drain(). Why a source is not to be had goes into `stats`. */
void mw_feeds_open(mw_feeds *feeds, const mw_sampler_options *options,
                   int events_fd, uint32_t event, mw_sampler_stats *stats);
void mw_feeds_close(mw_feeds *feeds);

/* Whether an exec wakes at once. */
void mw_feeds_listen(mw_feeds *feeds, int listen);

/* mw_platform_news(). */
int mw_feeds_drain(mw_feeds *feeds, int closing, mw_news_list *out,
                   mw_sampler_stats *stats);

/* mw_platform_sources(). */
uint32_t mw_feeds_sources(const mw_feeds *feeds);

/* To be called in every pass over the job: whether it may leave out looking for
   children. */
int mw_feeds_tell_forks(mw_feeds *feeds);

#endif
