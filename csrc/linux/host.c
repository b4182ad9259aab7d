/* What memwatch asks of its own process, and its clock. */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "platform.h"
#include "procfs.h"

int64_t mw_now(void) { return mw_read_clock(CLOCK_BOOTTIME); }

int mw_subreaper(int enable, int *previous) {
    if (prctl(PR_GET_CHILD_SUBREAPER, previous))
        return -errno;
    return prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)enable) ? -errno : 0;
}

int mw_own_usage(mw_usage *out) {
    out->cpu = mw_read_clock(CLOCK_PROCESS_CPUTIME_ID);
    /* Not getrusage: its ru_maxrss begins at the peak of the process that
       started memwatch. */
    char text[MW_FILE_TEXT];
    ssize_t n =
        mw_procfs_read(AT_FDCWD, "/proc/self/status", text, sizeof text);
    out->rss_peak = 0;
    out->valid = n > 0 && mw_parse_watermark(text, (size_t)n, &out->rss_peak)
                     ? MW_HAS_WATERMARK
                     : 0;
    return 0;
}

void mw_platform_name_thread(const char *name) { prctl(PR_SET_NAME, name); }

void mw_platform_set_environment(char *const envp[]) {
    environ = (char **)envp;
}

const char *mw_backend(void) { return "linux"; }
