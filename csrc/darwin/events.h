/*
 * What kqueue tells: that a process forked, executed or ended; not whom it
 * forked, nor when. Two queues: the sleeper waits on one, for the end of the
 * job and, while it listens, for news; the news are in the other.
 */
#ifndef MW_DARWIN_EVENTS_H
#define MW_DARWIN_EVENTS_H

#include "platform.h"

typedef struct mw_events {
    int wait_fd;
    int news_fd; /* -1: no news are wanted, or to be had */
    int is_listening;
} mw_events;

enum { MW_FORKED = 1, MW_EXECUTED = 2, MW_EXITED_NOW = 4 };

/* What happened to one process since it was last asked for. */
typedef struct mw_happening {
    void *who;
    int what;
    int has_status;
    int status; /* as wait(2) has it; when it ended */
} mw_happening;

/* 0 or -errno. *news_error says why there will be no news. */
int mw_events_open(mw_events *e, int wants_news, int *news_error);
void mw_events_close(mw_events *e);

/* Sleeps until `deadline` or one of mw_event, or more: an or of them. It may
   wake for nothing. From one thread. */
int mw_events_sleep(mw_events *e, int64_t deadline);

/* Ends the sleep; from any thread. */
void mw_events_stop(mw_events *e);

/* Whether news end the sleep. */
void mw_events_listen(mw_events *e, int listen);

/* Makes the end of this process end the sleep: 0, -ESRCH: it has, or -errno. */
int mw_events_expect_end(mw_events *e, int32_t pid);

/* Whose news to tell, as `who`'s: 0, -ESRCH: it has ended, or -errno. Until it
   ends or mw_events_unwatch(). */
int mw_events_watch(mw_events *e, int32_t pid, void *who);
void mw_events_unwatch(mw_events *e, int32_t pid);

/* Takes news: how many, or -errno. With `capacity` there may be more. */
int mw_events_take(mw_events *e, mw_happening *out, int capacity);

#endif
