/* What memwatch asks of its own process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "parse.h"
#include "procfs.h"

int mw_subreaper(int enable, int *previous) {
    if (prctl(PR_GET_CHILD_SUBREAPER, previous))
        return -errno;
    return prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)enable) ? -errno : 0;
}

int mw_signals_open(uint64_t signals) {
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number <= 64; number++)
        if (signals >> (number - 1) & 1)
            sigaddset(&set, number);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int mw_signals_next(int fd, mw_signal *out) {
    struct signalfd_siginfo info;
    ssize_t n = read(fd, &info, sizeof info);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n != (ssize_t)sizeof info)
        return 0;
    out->number = (int32_t)info.ssi_signo;
    out->sender = (int32_t)info.ssi_pid;
    out->from_kernel = info.ssi_code == SI_KERNEL;
    return 1;
}

int mw_own_usage(mw_usage *out) {
    struct timespec cpu;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu))
        return -errno;
    out->cpu = cpu.tv_sec * 1000000000LL + cpu.tv_nsec;
    /* Not getrusage: its ru_maxrss begins at the peak of whoever started us. */
    char text[MW_FILE_TEXT];
    ssize_t n =
        mw_procfs_read(AT_FDCWD, "/proc/self/status", text, sizeof text);
    out->rss_peak = 0;
    out->valid = n > 0 && mw_parse_watermark(text, (size_t)n, &out->rss_peak)
                     ? MW_HAS_WATERMARK
                     : 0;
    return 0;
}

void mw_platform_set_environment(char *const envp[]) {
    environ = (char **)envp;
}

const char *mw_backend(void) { return "linux"; }
