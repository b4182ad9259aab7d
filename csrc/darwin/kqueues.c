/* The two kqueues: waiting, watching processes, taking their events. */
#include "kqueues.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;

/* The ident of the EVFILT_USER event. */
static const uintptr_t STOP = 1;

enum { MOST_TAKEN = 64 };

/* kevent() refuses times that are too far away. */
static const int64_t LONGEST_SLEEP = 3600000000000;

static int change(int fd, uintptr_t what, int16_t filter, uint16_t flags,
                  uint32_t notes, mw_handle *handle) {
    struct kevent event;
    EV_SET(&event, what, filter, flags, notes, 0, handle);
    while (kevent(fd, &event, 1, NULL, 0, NULL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int open_queue(int *fd) {
    *fd = kqueue();
    if (*fd < 0)
        return -errno;
    /* fork(2) does not inherit it in any case, but execve(2) in this process
       would. */
    fcntl(*fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

int mw_kqueues_open(mw_kqueues *q, int wants_events, int *event_error) {
    *q = (mw_kqueues){.wait_fd = -1, .event_fd = -1};
    *event_error = 0;
    int error = open_queue(&q->wait_fd);
    if (!error)
        error =
            change(q->wait_fd, STOP, EVFILT_USER, EV_ADD | EV_CLEAR, 0, NULL);
    if (error || !wants_events)
        return error;
    *event_error = open_queue(&q->event_fd);
    /* It is ready while there is an event in it. */
    if (!*event_error)
        *event_error = change(q->wait_fd, (uintptr_t)q->event_fd, EVFILT_READ,
                              EV_ADD | EV_DISABLE, 0, NULL);
    if (*event_error && q->event_fd >= 0) {
        close(q->event_fd);
        q->event_fd = -1;
    }
    return 0;
}

void mw_kqueues_close(mw_kqueues *q) {
    if (q->wait_fd >= 0)
        close(q->wait_fd);
    if (q->event_fd >= 0)
        close(q->event_fd);
}

int mw_kqueues_sleep(mw_kqueues *q, int64_t deadline) {
    struct kevent seen[4];
    int64_t left = deadline - mw_now();
    if (left < 0)
        left = 0;
    if (left > LONGEST_SLEEP)
        left = LONGEST_SLEEP;
    struct timespec timeout = {.tv_sec = left / SECOND,
                               .tv_nsec = left % SECOND};
    int n = kevent(q->wait_fd, NULL, 0, seen, 4, &timeout), waited = 0;
    for (int i = 0; i < n; i++)
        switch (seen[i].filter) {
        case EVFILT_USER: waited |= MW_WAITED_STOP; break;
        case EVFILT_PROC: waited |= MW_WAITED_ROOT_EXIT; break;
        case EVFILT_READ: waited |= MW_WAITED_EVENTS; break;
        }
    return waited;
}

void mw_kqueues_stop(mw_kqueues *q) {
    change(q->wait_fd, STOP, EVFILT_USER, 0, NOTE_TRIGGER, NULL);
}

void mw_kqueues_wake_on_events(mw_kqueues *q, int wake) {
    if (q->event_fd < 0 || wake == q->wakes_on_events)
        return;
    if (!change(q->wait_fd, (uintptr_t)q->event_fd, EVFILT_READ,
                wake ? EV_ENABLE : EV_DISABLE, 0, NULL))
        q->wakes_on_events = wake;
}

int mw_kqueues_expect_end(mw_kqueues *q, int32_t pid) {
    return change(q->wait_fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT,
                  NULL);
}

int mw_kqueues_watch(mw_kqueues *q, int32_t pid, mw_handle *handle) {
    if (q->event_fd < 0)
        return -ENOTSUP;
    static const uint32_t notes = NOTE_FORK | NOTE_EXEC | NOTE_EXIT;
    int error = change(q->event_fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD,
                       notes | NOTE_EXITSTATUS, handle);
    /* The exit status needs the right to signal the process; the exit does
       not. */
    if (error == -EACCES)
        error = change(q->event_fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD, notes,
                       handle);
    return error;
}

void mw_kqueues_unwatch(mw_kqueues *q, int32_t pid) {
    change(q->event_fd, (uintptr_t)pid, EVFILT_PROC, EV_DELETE, 0, NULL);
}

int mw_kqueues_take(mw_kqueues *q, mw_kqueue_event *out, int capacity) {
    static const struct timespec at_once = {0};
    struct kevent seen[MOST_TAKEN];
    if (q->event_fd < 0)
        return 0;
    if (capacity > MOST_TAKEN)
        capacity = MOST_TAKEN;
    int n = kevent(q->event_fd, NULL, 0, seen, capacity, &at_once);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        uint32_t notes = seen[i].fflags;
        out[i] = (mw_kqueue_event){
            .handle = seen[i].udata,
            .what = (notes & NOTE_FORK ? MW_KQUEUE_FORK : 0) |
                    (notes & NOTE_EXEC ? MW_KQUEUE_EXEC : 0) |
                    (notes & NOTE_EXIT ? MW_KQUEUE_EXIT : 0),
            .has_status = (notes & NOTE_EXITSTATUS) != 0,
            .status = (int)(seen[i].data & NOTE_PDATAMASK),
        };
    }
    return n;
}
