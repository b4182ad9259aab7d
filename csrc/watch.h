/* One size and its limit: when to wake the reader, and when to look more often.
   Pure. */
#ifndef MW_WATCH_H
#define MW_WATCH_H

#include <stdint.h>

/* {.limit = limit, .alarm = limit} is the beginning; all zero has no limit. */
typedef struct mw_watch {
    uint64_t limit;   /* 0: none */
    uint64_t alarm;   /* the reader is woken above this; 0: never */
    uint64_t last;    /* the size at the last tick */
    int64_t last_at;  /* the time of that; 0: there was none */
    int64_t risen_at; /* when it was last above the one before */
} mw_watch;

/* Returns the size above which one that has exceeded its limit has grown on. */
uint64_t mw_watch_grown(uint64_t size);

/* Returns whether to wake the reader: the size exceeds its limit, or has grown
   on since that was last true. */
int mw_watch_alarms(mw_watch *watch, uint64_t size);

/* Returns whether the size is close to its limit and has risen lately, or would
   reach it within a few ticks if it went on like this; to be called at each
   tick. */
int mw_watch_is_near(mw_watch *watch, uint64_t size, int64_t time,
                     int64_t interval);

#endif
