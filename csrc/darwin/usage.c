/* What a process holds and has used, and the kernel's clock. */
#include "usage.h"

#include <errno.h>
#include <libproc.h>
#include <mach/mach_time.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysctl.h>

#include "memwatch.h"

static const uint64_t SECOND = 1000000000;

/* Asks sysctl, since in a program that Rosetta translates mach_timebase_info()
   describes another clock than the kernel counts CPU time with. */
uint64_t mw_kernel_frequency(void) {
    uint64_t frequency = 0;
    size_t size = sizeof frequency;
    if (sysctlbyname("hw.tbfrequency", &frequency, &size, NULL, 0) ||
        size != sizeof frequency)
        return 0;
    return frequency;
}

int64_t mw_ticks_to_ns(uint64_t ticks, uint64_t frequency) {
    if (!frequency)
        return 0;
    return (int64_t)(ticks / frequency * SECOND +
                     ticks % frequency * SECOND / frequency);
}

int mw_time_of_ticks(uint64_t ticks, uint64_t frequency, int64_t *time) {
    mach_timebase_info_data_t base;
    mach_timebase_info(&base);
    /* One tick is numer/denom ns. It is the same clock if that is
       1/frequency. */
    uint64_t ours = base.numer ? SECOND * base.denom / base.numer : 0;
    uint64_t now = mach_absolute_time();
    if (!frequency || ours != frequency || ticks > now)
        return -ENOTSUP;
    *time = mw_now() - mw_ticks_to_ns(now - ticks, frequency);
    return 0;
}

int mw_read_account(int32_t pid, uint64_t frequency, mw_account *out) {
    struct rusage_info_v4 info;
    /* The type of the buffer is that of a pointer, for historical reasons. */
    if (proc_pid_rusage(pid, RUSAGE_INFO_V4, (rusage_info_t *)&info))
        return errno == EPERM ? -EPERM : -ESRCH;
    *out = (mw_account){
        .started = info.ri_proc_start_abstime,
        .ended = info.ri_proc_exit_abstime,
        .rss = info.ri_resident_size,
        .footprint = info.ri_phys_footprint,
        .footprint_peak = info.ri_lifetime_max_phys_footprint,
        .read_bytes = info.ri_diskio_bytesread,
        .written_bytes = info.ri_diskio_byteswritten,
        .user = mw_ticks_to_ns(info.ri_user_time, frequency),
        .system = mw_ticks_to_ns(info.ri_system_time, frequency),
        .had_children = info.ri_child_elapsed_abstime != 0,
    };
    memcpy(out->program, info.ri_uuid, sizeof out->program);
    return 0;
}
