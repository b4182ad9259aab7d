#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;

/* Of the EVFILT_USER event. */
static const uintptr_t STOP = 1;

enum { MOST_TAKEN = 64 };

/* kevent() refuses times that are too far away. */
static const int64_t LONGEST_SLEEP = 3600000000000;

static int change(int fd, uintptr_t what, int16_t filter, uint16_t flags,
                  uint32_t notes, void *who) {
    struct kevent event;
    EV_SET(&event, what, filter, flags, notes, 0, who);
    while (kevent(fd, &event, 1, NULL, 0, NULL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int open_queue(int *fd) {
    *fd = kqueue();
    if (*fd < 0)
        return -errno;
    /* Not inherited by fork(2) anyway, but by execve(2) in this process. */
    fcntl(*fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

int mw_events_open(mw_events *e, int wants_news, int *news_error) {
    *e = (mw_events){.wait_fd = -1, .news_fd = -1};
    *news_error = 0;
    int error = open_queue(&e->wait_fd);
    if (!error)
        error =
            change(e->wait_fd, STOP, EVFILT_USER, EV_ADD | EV_CLEAR, 0, NULL);
    if (error || !wants_news)
        return error;
    *news_error = open_queue(&e->news_fd);
    /* Ready while there is something in it. */
    if (!*news_error)
        *news_error = change(e->wait_fd, (uintptr_t)e->news_fd, EVFILT_READ,
                             EV_ADD | EV_DISABLE, 0, NULL);
    if (*news_error && e->news_fd >= 0) {
        close(e->news_fd);
        e->news_fd = -1;
    }
    return 0;
}

void mw_events_close(mw_events *e) {
    if (e->wait_fd >= 0)
        close(e->wait_fd);
    if (e->news_fd >= 0)
        close(e->news_fd);
}

int mw_events_sleep(mw_events *e, int64_t deadline) {
    struct kevent seen[4];
    int64_t left = deadline - mw_now();
    if (left < 0)
        left = 0;
    if (left > LONGEST_SLEEP)
        left = LONGEST_SLEEP;
    struct timespec timeout = {.tv_sec = left / SECOND,
                               .tv_nsec = left % SECOND};
    int n = kevent(e->wait_fd, NULL, 0, seen, 4, &timeout), events = 0;
    for (int i = 0; i < n; i++)
        switch (seen[i].filter) {
        case EVFILT_USER: events |= MW_EVENT_STOP; break;
        case EVFILT_PROC: events |= MW_EVENT_ROOT_EXIT; break;
        case EVFILT_READ: events |= MW_EVENT_NEWS; break;
        }
    return events;
}

void mw_events_stop(mw_events *e) {
    change(e->wait_fd, STOP, EVFILT_USER, 0, NOTE_TRIGGER, NULL);
}

void mw_events_listen(mw_events *e, int listen) {
    if (e->news_fd < 0 || listen == e->is_listening)
        return;
    if (!change(e->wait_fd, (uintptr_t)e->news_fd, EVFILT_READ,
                listen ? EV_ENABLE : EV_DISABLE, 0, NULL))
        e->is_listening = listen;
}

int mw_events_expect_end(mw_events *e, int32_t pid) {
    return change(e->wait_fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT,
                  NULL);
}

int mw_events_watch(mw_events *e, int32_t pid, void *who) {
    if (e->news_fd < 0)
        return -ENOTSUP;
    static const uint32_t notes = NOTE_FORK | NOTE_EXEC | NOTE_EXIT;
    int error = change(e->news_fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD,
                       notes | NOTE_EXITSTATUS, who);
    /* How it ends is told to who may signal it; that it ends, to all. */
    if (error == -EACCES)
        error =
            change(e->news_fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD, notes, who);
    return error;
}

void mw_events_unwatch(mw_events *e, int32_t pid) {
    change(e->news_fd, (uintptr_t)pid, EVFILT_PROC, EV_DELETE, 0, NULL);
}

int mw_events_take(mw_events *e, mw_happening *out, int capacity) {
    static const struct timespec at_once = {0};
    struct kevent seen[MOST_TAKEN];
    if (e->news_fd < 0)
        return 0;
    if (capacity > MOST_TAKEN)
        capacity = MOST_TAKEN;
    int n = kevent(e->news_fd, NULL, 0, seen, capacity, &at_once);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        uint32_t notes = seen[i].fflags;
        out[i] = (mw_happening){
            .who = seen[i].udata,
            .what = (notes & NOTE_FORK ? MW_FORKED : 0) |
                    (notes & NOTE_EXEC ? MW_EXECUTED : 0) |
                    (notes & NOTE_EXIT ? MW_EXITED_NOW : 0),
            .has_status = (notes & NOTE_EXITSTATUS) != 0,
            .status = (int)(seen[i].data & NOTE_PDATAMASK),
        };
    }
    return n;
}
