/* What macOS has in this header beside what Linux has. */
#include_next <time.h>

#if !defined FAKE_TIME_H && defined CLOCK_REALTIME
#define FAKE_TIME_H

#include <stdint.h>

/* Other numbers than Linux has for its clocks. */
#define CLOCK_UPTIME_RAW 0x108

uint64_t clock_gettime_nsec_np(clockid_t clock);

#endif
