/*
 * All feeds of one job: opened if they work here, drained together, given up
 * one by one if they fail.
 */
#ifndef MW_LINUX_FEEDS_H
#define MW_LINUX_FEEDS_H

#include "feed.h"

typedef struct mw_feeds {
    mw_feed *events; /* proc connector or perf; NULL: none, as for the others */
    mw_feed *records; /* taskstats */
    mw_feed *hook;
    uint32_t events_source;    /* MW_CONNECTOR or MW_PERF */
    int epoll_fd;              /* the caller's: what it sleeps on */
    uint32_t wake_event;       /* what epoll_fd returns for the feeds */
    int wakes_on_exec;         /* an exec wakes at once */
    int64_t next_drain;        /* 0: not before an event wakes */
    uint64_t lost;             /* by feeds that were given up */
    uint64_t events_lost;      /* by `events`, at the last drain */
    unsigned incomplete_ticks; /* left in which events do not cover all */
    unsigned ticks;
    mw_event_list from_events;
    mw_event_list from_hook; /* not passed on yet */
    mw_event_list from_records;
    mw_event_list held_back; /* from the hook, for the next drain */
} mw_feeds;

/* Opens what `options` wants. `epoll_fd` will return `wake_event` when it is
   time for mw_feeds_drain(). Writes into `stats` why a source does not work. */
void mw_feeds_open(mw_feeds *feeds, const mw_sampler_options *options,
                   int epoll_fd, uint32_t wake_event, mw_sampler_stats *stats);
void mw_feeds_close(mw_feeds *feeds);

/* Sets whether an exec wakes at once. */
void mw_feeds_wake_on_exec(mw_feeds *feeds, int wake);

/* Does what mw_platform_events() promises. */
int mw_feeds_drain(mw_feeds *feeds, int closing, mw_event_list *out,
                   mw_sampler_stats *stats);

/* Does what mw_platform_sources() promises. */
uint32_t mw_feeds_sources(const mw_feeds *feeds);

/* Returns whether this tick need not look for children, because events cover
   every fork. To be called once in every tick. */
int mw_feeds_cover_forks(mw_feeds *feeds);

#endif
