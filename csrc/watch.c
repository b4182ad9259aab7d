/* One size and its limit. */
#include "watch.h"

/* A size has grown on when it is higher by one part in GROWTH_PART and by
   GROWTH: the job's own handler of SIGTERM may need a little memory. The same
   as in memwatch/model/limits.py. */
static const uint64_t GROWTH_PART = 100;
static const uint64_t GROWTH = 1 << 20;

/* Close is above 4 parts in 5 of the limit; lately is this many nanoseconds. A
   job that stands still close to its limit would otherwise cost, and record, a
   thousand ticks a second for hours. */
static const uint64_t CLOSE_PART = 5;
static const int64_t LATELY = 1000000000;

/* Ticks that a size may need to reach its limit and still be near. */
static const int64_t TICKS_AHEAD = 3;

uint64_t mw_watch_grown(uint64_t size) {
    return size + size / GROWTH_PART + GROWTH;
}

int mw_watch_alarms(mw_watch *w, uint64_t size) {
    if (!w->alarm || size <= w->alarm)
        return 0;
    w->alarm = mw_watch_grown(size);
    return 1;
}

int mw_watch_is_near(mw_watch *w, uint64_t size, int64_t time,
                     int64_t interval) {
    if (!w->limit)
        return 0;
    uint64_t rise = w->last_at && size > w->last ? size - w->last : 0;
    double elapsed = (double)(time - w->last_at);
    w->last = size;
    w->last_at = time;
    if (!rise)
        return size > w->limit - w->limit / CLOSE_PART && w->risen_at &&
               time - w->risen_at < LATELY;
    w->risen_at = time;
    double ahead = (double)(interval * TICKS_AHEAD);
    double reached = (double)size + (double)rise / elapsed * ahead;
    return size > w->limit - w->limit / CLOSE_PART ||
           reached > (double)w->limit;
}
