/* A feed: what all open event sources of Linux have in common. */
#ifndef MW_LINUX_FEED_H
#define MW_LINUX_FEED_H

#include "event_list.h"

typedef struct mw_feed mw_feed;

/* The first member of what each source keeps. */
struct mw_feed {
    /* Readable if there is any event. It may be an epoll of several. -1: the
       source has none, and is drained together with the others. */
    int event_fd;
    /* Readable if something was executed, so that the process can be read
       before it ends; emptied by drain(). -1: none. */
    int exec_fd;
    uint64_t lost; /* messages lost so far; 1 where the number is not known */
    /* Appends all events that are there, without waiting, in the order of time.
       0 or -errno: the source has failed for good. */
    int (*drain)(mw_feed *feed, mw_event_list *out);
    void (*close)(mw_feed *feed);
};

/*
 * Open a source: 0, or -errno that says why it does not work here:
 *   -EPERM, -EACCES: this user may not use it
 *   -EOPNOTSUPP:     the kernel was built without it
 *   -ENXIO:          not from within these namespaces, as in a container
 *   -ECONNREFUSED:   the connector: not from within this network namespace
 * or another error.
 */
int mw_connector_open(mw_feed **out);
int mw_perf_open(mw_feed **out); /* for the calling thread and what it forks */
int mw_taskstats_open(mw_feed **out);

/* Gives the hook's feed, which the hook owns: close() does nothing. drain()
   returns -EPIPE once, after the last event, if the guardian was killed and the
   job is in trouble. */
int mw_hook_feed(mw_hook *hook, mw_feed **out);

/* Returns whether mw_hook_install() would work, by trying it in a child: 0 or
   -errno. */
int mw_hook_probe(void);

/* -- probe.c -- */

/* Writes the list of processors that there may ever be, "0-3". Returns its
   length. */
size_t mw_possible_cpus(char *text, size_t capacity);

/* Returns whether this process is in the first namespaces of process ids and
   users: 1, or 0, also if that cannot be found out. */
int mw_initial_namespaces(void);

#endif
