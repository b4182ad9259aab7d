/* A feed of news: what the Linux event sources have in common. */
#ifndef MW_LINUX_FEED_H
#define MW_LINUX_FEED_H

#include "news.h"

typedef struct mw_feed mw_feed;

/* The first member of what each source keeps. */
struct mw_feed {
    /* Readable when there is any news at all; epoll may hold several. -1: the
       source has no such thing, and is drained with the others. */
    int news_fd;
    /* Readable when something was executed, to be looked at before it ends;
       emptied by drain(). -1: none. */
    int bell_fd;
    uint64_t lost; /* messages lost so far; where only the fact is known, 1 */
    /* Appends all that is there, without waiting, in the order of time. 0 or
       -errno: the source has failed for good. */
    int (*drain)(mw_feed *feed, mw_news_list *out);
    void (*close)(mw_feed *feed);
};

/*
 * Each 0, or -errno why it cannot be had:
 *   -EPERM, -EACCES: this user may not
 *   -EOPNOTSUPP:     the kernel was built without it
 *   -ENXIO:          not from within these namespaces, as in a container
 *   -ECONNREFUSED:   the connector: not from within this network namespace
 * or what else went wrong.
 */
int mw_connector_open(mw_feed **out);
int mw_perf_open(mw_feed **out); /* of the calling thread and what it forks */
int mw_taskstats_open(mw_feed **out);

/* Owned by the hook; close() does nothing. Once, drain() returns -EPIPE after
   the last news: the guardian was killed, and the job is in trouble. */
int mw_hook_feed(mw_hook *hook, mw_feed **out);

/* Whether mw_hook_install() would work, found out in a child. */
int mw_hook_probe(void);

/* The processors that there may ever be, as a list "0-3": its length. */
size_t mw_possible_cpus(char *text, size_t capacity);

/* Whether this process is in the first namespaces of process ids and users: 1,
   or 0, also when that cannot be told. */
int mw_initial_namespaces(void);

#endif
