/*
 * Signals sent to memwatch itself. kqueue tells that one came, whether or not
 * it is blocked, but not from whom; macOS tells that to nobody but a handler,
 * and not always the truth.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/event.h>
#include <time.h>
#include <unistd.h>

#include "memwatch.h"

enum { LAST_SIGNAL = 31 };

/* Word of a signal comes a moment before it is pending: xnu's
   psignal_internal(). How often it is looked for, and how long apart. One that
   is ignored never is. */
enum { TAKE_TRIES = 20, TAKE_PAUSE_NS = 50000 };

static int is_pending(int number) {
    sigset_t pending;
    return !sigpending(&pending) && sigismember(&pending, number) == 1;
}

/* Takes a signal that is pending, so that it strikes nobody later. */
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
    /* What came between the blocking and now is sent once more. */
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

/* Whether memwatch is in the foreground of a terminal: then what its keys send
   goes to memwatch, too. */
static int is_in_foreground(void) {
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int is = tcgetpgrp(fd) == getpgrp();
    close(fd);
    return is;
}

/* What a terminal sends: so it most likely did. */
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
