/* Clocks of POSIX in nanoseconds. */
#ifndef MW_CLOCK_H
#define MW_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Returns the time of a clock, in nanoseconds. */
static inline int64_t mw_read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Returns the CPU time that the calling thread has used. */
static inline int64_t mw_thread_cpu_time(void) {
    return mw_read_clock(CLOCK_THREAD_CPUTIME_ID);
}

#endif
