/*
 * Signals sent to memwatch itself. kqueue reports that one came, whether or not
 * it is blocked, but not its sender: macOS gives that only to a handler, and
 * not always correctly.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/event.h>
#include <time.h>
#include <unistd.h>

#include "memwatch.h"

enum { LAST_SIGNAL = 31 };

/* kqueue reports a signal a moment before it is pending (xnu's
   psignal_internal()): how often that is checked, and how long apart. A signal
   that is ignored never is pending. */
enum { TAKE_TRIES = 20, TAKE_PAUSE_NS = 50000 };

static int is_pending(int number) {
    sigset_t pending;
    return !sigpending(&pending) && sigismember(&pending, number) == 1;
}

/* Takes a signal that is pending, so that it has no effect later. */
static void take(int number) {
    sigset_t set;
    int taken;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigwait(&set, &taken);
}

static int watch(int fd, int number) {
    struct kevent event;
    EV_SET(&event, (uintptr_t)number, EVFILT_SIGNAL, EV_ADD, 0, 0, NULL);
    if (kevent(fd, &event, 1, NULL, 0, NULL) < 0)
        return -errno;
    /* A signal that came after it was blocked and before now is sent again. */
    if (is_pending(number)) {
        take(number);
        kill(getpid(), number);
    }
    return 0;
}

int mw_signals_open(uint64_t signals) {
    int fd = kqueue();
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    int error = 0;
    for (int number = 1; !error && number <= LAST_SIGNAL; number++)
        if (signals >> (number - 1) & 1)
            error = watch(fd, number);
    if (error)
        close(fd);
    return error ? error : fd;
}

/* Returns whether memwatch is in the foreground of a terminal: then the
   terminal's keys send signals to memwatch as well. */
static int is_in_foreground(void) {
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int is = tcgetpgrp(fd) == getpgrp();
    close(fd);
    return is;
}

/* Returns whether a signal came from the terminal, most likely. */
static int is_from_terminal(int number) {
    return (number == SIGINT || number == SIGQUIT || number == SIGWINCH) &&
           is_in_foreground();
}

int mw_signals_next(int fd, mw_signal *out) {
    static const struct timespec at_once = {0};
    static const struct timespec pause = {.tv_nsec = TAKE_PAUSE_NS};
    struct kevent event;
    int n = kevent(fd, NULL, 0, &event, 1, &at_once);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (!n)
        return 0;
    int number = (int)event.ident;
    for (int i = 0; i < TAKE_TRIES && !is_pending(number); i++)
        nanosleep(&pause, NULL);
    if (is_pending(number))
        take(number);
    *out =
        (mw_signal){.number = number, .from_kernel = is_from_terminal(number)};
    return 1;
}
