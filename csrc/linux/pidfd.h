/* pidfd_open(2) and pidfd_send_signal(2), for C libraries without them. */
#ifndef MW_LINUX_PIDFD_H
#define MW_LINUX_PIDFD_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same numbers on every architecture: Linux 5.3 and 5.1. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* Returns a descriptor (close-on-exec), or -1 and errno. */
static inline int mw_pidfd_open(int32_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static inline int mw_pidfd_send_signal(int fd, int number) {
    return (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
}

#endif
