/* Signals sent to memwatch itself, by signalfd(2). */
#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "memwatch.h"
#include "thread.h"

int mw_signals_open(uint64_t signals) {
    sigset_t set;
    mw_to_signal_set(signals, &set);
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
