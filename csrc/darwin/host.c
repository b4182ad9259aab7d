/* What memwatch asks of its own process, and its clock. */
#include <crt_externs.h>
#include <errno.h>
#include <mach/mach_time.h>
#include <pthread.h>
#include <sys/resource.h>

#include "platform.h"

/* This clock runs on while the machine sleeps, and is never set. */
int64_t mw_now(void) {
    mach_timebase_info_data_t base;
    mach_timebase_info(&base);
    uint64_t ticks = mach_continuous_time();
    return (int64_t)(ticks / base.denom * base.numer +
                     ticks % base.denom * base.numer / base.denom);
}

/* Orphans always go to launchd. */
int mw_subreaper(int enable, int *previous) {
    (void)enable;
    *previous = 0;
    return -ENOTSUP;
}

int mw_own_usage(mw_usage *out) {
    struct rusage usage;
    *out = (mw_usage){0};
    if (getrusage(RUSAGE_SELF, &usage))
        return -errno;
    out->cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
    out->rss_peak = (uint64_t)usage.ru_maxrss; /* bytes here */
    out->valid = MW_HAS_WATERMARK;
    return 0;
}

void mw_platform_name_thread(const char *name) { pthread_setname_np(name); }

/* Goes through _NSGetEnviron(), since a library has no variable `environ`. */
void mw_platform_set_environment(char *const envp[]) {
    *_NSGetEnviron() = (char **)envp;
}

const char *mw_backend(void) { return "darwin"; }
