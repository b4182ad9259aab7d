/* The part of macOS's header that the Darwin files use: Mach's clock. */
#ifndef FAKE_MACH_MACH_TIME_H
#define FAKE_MACH_MACH_TIME_H

#include <stdint.h>

typedef int kern_return_t;
#define KERN_SUCCESS 0

struct mach_timebase_info {
    uint32_t numer, denom;
};
typedef struct mach_timebase_info *mach_timebase_info_t;
typedef struct mach_timebase_info mach_timebase_info_data_t;

kern_return_t mach_timebase_info(mach_timebase_info_t info);
uint64_t mach_absolute_time(void);
uint64_t mach_continuous_time(void);

#endif
