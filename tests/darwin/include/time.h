/* What this header has on macOS and not on Linux. */
#include_next <time.h>

#if !defined FAKE_TIME_H && defined CLOCK_REALTIME
#define FAKE_TIME_H

#include <stdint.h>

/* The number is none of Linux's clocks. */
#define CLOCK_UPTIME_RAW 0x108

uint64_t clock_gettime_nsec_np(clockid_t clock);

#endif
