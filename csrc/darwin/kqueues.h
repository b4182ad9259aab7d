/*
 * What kqueue reports: that a process forked, executed or ended; not which
 * child it forked, nor when. Two queues: one for the end of the job and, if
 * events are to wake the sleeper, for the other queue; the other one has the
 * events.
 */
#ifndef MW_DARWIN_KQUEUES_H
#define MW_DARWIN_KQUEUES_H

#include "platform.h"

typedef struct mw_kqueues {
    int wait_fd;
    int event_fd; /* -1: events are not wanted, or cannot be had */
    int wakes_on_events;
} mw_kqueues;

enum { MW_KQUEUE_FORK = 1, MW_KQUEUE_EXEC = 2, MW_KQUEUE_EXIT = 4 };

/* What happened to one process since its events were last taken. */
typedef struct mw_kqueue_event {
    mw_handle *handle;
    int what; /* an or of the above */
    int has_status;
    int status; /* as wait(2) has it; if it ended */
} mw_kqueue_event;

/* Opens the queues: 0 or -errno. `*event_error` says why there are no
   events. */
int mw_kqueues_open(mw_kqueues *q, int wants_events, int *event_error);
void mw_kqueues_close(mw_kqueues *q);

/* Sleeps until `deadline` or until something of mw_waited happens, which it
   returns. It may return 0 before the deadline. From one thread. */
int mw_kqueues_sleep(mw_kqueues *q, int64_t deadline);

/* Ends the sleep, from any thread. */
void mw_kqueues_stop(mw_kqueues *q);

/* Sets whether events end the sleep. */
void mw_kqueues_wake_on_events(mw_kqueues *q, int wake);

/* Makes the end of this process end the sleep: 0; -ESRCH: it has ended; or
   -errno. */
int mw_kqueues_expect_end(mw_kqueues *q, int32_t pid);

/* Reports the events of a process from now on, as those of `handle`, until it
   ends or mw_kqueues_unwatch(): 0; -ESRCH: it has ended; or -errno. */
int mw_kqueues_watch(mw_kqueues *q, int32_t pid, mw_handle *handle);
void mw_kqueues_unwatch(mw_kqueues *q, int32_t pid);

/* Takes events: how many, or -errno. If as many as `capacity`, there may be
   more. */
int mw_kqueues_take(mw_kqueues *q, mw_kqueue_event *out, int capacity);

#endif
