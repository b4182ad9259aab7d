/*
 * kqueue on the table. A queue's descriptor is an epoll of an eventfd, the
 * bell, and of the descriptors that are watched, so that it can be polled as
 * macOS's can.
 *
 * Real processes report nothing: in live mode they are read every few
 * milliseconds while a thread waits.
 */
#include <sys/event.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "machine.h"

enum { MOST_QUEUES = 64, READ_EVERY_MS = 2 };

typedef struct {
    struct kevent what;
    uint32_t pending; /* fflags that wait to be fetched */
    intptr_t data;
    int is_active;
    uint64_t turn; /* the order in which notes became active */
    uint64_t unique;
    int fd; /* SIGNAL: a signalfd to poll; else -1 */
} knote;

typedef struct {
    int fd; /* -1: none */
    int bell;
    knote *notes;
    size_t count, capacity;
    uint64_t turns;
} queue;

static queue queues[MOST_QUEUES];
static size_t queue_count;

static queue *find_queue(int fd) {
    for (size_t i = 0; i < queue_count; i++)
        if (queues[i].fd == fd)
            return &queues[i];
    return NULL;
}

static int watch(const queue *q, int fd) {
    struct epoll_event when = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(q->fd, EPOLL_CTL_ADD, fd, &when) ? errno : 0;
}

int kqueue(void) {
    lock_machine();
    int error = ask("kqueue");
    if (!error && queue_count == MOST_QUEUES)
        error = EMFILE;
    queue q = {.fd = -1, .bell = -1};
    if (!error) {
        q.fd = epoll_create1(EPOLL_CLOEXEC);
        q.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (q.fd < 0 || q.bell < 0 || watch(&q, q.bell))
            abort();
        queues[queue_count++] = q;
    }
    unlock_machine();
    if (error)
        errno = error;
    return q.fd;
}

static void drop(queue *q, size_t i) {
    knote *n = &q->notes[i];
    if (n->what.filter == EVFILT_READ)
        epoll_ctl(q->fd, EPOLL_CTL_DEL, (int)n->what.ident, NULL);
    if (n->fd >= 0)
        close(n->fd);
    *n = q->notes[--q->count];
}

int __real_close(int fd);
int __wrap_close(int fd);

/* Closes a descriptor, and the queue if it has one. */
int __wrap_close(int fd) {
    lock_machine();
    queue *q = find_queue(fd);
    if (q) {
        while (q->count)
            drop(q, q->count - 1);
        free(q->notes);
        __real_close(q->bell);
        *q = queues[--queue_count];
    }
    unlock_machine();
    return __real_close(fd);
}

int fake_kqueues(void) {
    lock_machine();
    int count = (int)queue_count;
    unlock_machine();
    return count;
}

int fake_knotes(void) {
    lock_machine();
    size_t count = 0;
    for (size_t i = 0; i < queue_count; i++)
        count += queues[i].count;
    unlock_machine();
    return (int)count;
}

static void activate(queue *q, knote *n, uint32_t flags, intptr_t data) {
    n->pending |= flags;
    n->data = data;
    if (!n->is_active)
        n->turn = ++q->turns;
    n->is_active = 1;
    uint64_t one = 1;
    if (write(q->bell, &one, sizeof one) < 0 && errno != EAGAIN)
        abort();
}

void post(const process *p, uint32_t note, int status) {
    if (fake.is_losing)
        return;
    for (size_t i = 0; i < queue_count; i++)
        for (size_t j = 0; j < queues[i].count; j++) {
            knote *n = &queues[i].notes[j];
            if (n->what.filter != EVFILT_PROC || n->unique != p->unique)
                continue;
            uint32_t flags = n->what.fflags & note;
            if (note == NOTE_EXIT) {
                flags |= n->what.fflags & NOTE_EXITSTATUS;
                n->what.flags |= EV_EOF | EV_ONESHOT;
            }
            if (flags || note == NOTE_EXIT)
                activate(&queues[i], n, flags,
                         flags & NOTE_EXITSTATUS ? status & NOTE_PDATAMASK : 0);
        }
}

static ptrdiff_t find_note(const queue *q, const struct kevent *what) {
    for (size_t i = 0; i < q->count; i++)
        if (q->notes[i].what.ident == what->ident &&
            q->notes[i].what.filter == what->filter)
            return (ptrdiff_t)i;
    return -1;
}

/* Prepares a new note: 0 or an errno. */
static int attach(const queue *q, knote *n) {
    int error = 0;
    switch (n->what.filter) {
    case EVFILT_USER: return 0;
    case EVFILT_READ: return watch(q, (int)n->what.ident);
    case EVFILT_SIGNAL: {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, (int)n->what.ident);
        n->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return n->fd < 0 ? errno : watch(q, n->fd);
    }
    case EVFILT_PROC: break;
    default: return EINVAL;
    }
    error = ask("register");
    if (error)
        return error;
    if (n->what.fflags & (NOTE_TRACK | NOTE_TRACKERR | NOTE_CHILD))
        return ENOTSUP;
    if (fake.is_live)
        live_refresh((int32_t)n->what.ident);
    const process *p = find_process((int32_t)n->what.ident);
    if (!p || p->life > DYING)
        return ESRCH;
    if ((n->what.fflags & NOTE_EXITSTATUS) && p->ppid != fake.my_pid &&
        fake.my_uid && p->uid != fake.my_uid)
        return EACCES;
    n->what.flags |= EV_CLEAR;
    n->unique = p->unique;
    return 0;
}

static int add(queue *q, const struct kevent *change) {
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? 2 * q->capacity : 16;
        q->notes = realloc(q->notes, q->capacity * sizeof *q->notes);
        if (!q->notes)
            abort();
    }
    knote *n = &q->notes[q->count];
    *n = (knote){.what = *change, .fd = -1};
    n->what.flags &= (uint16_t)~(EV_ADD | EV_RECEIPT);
    int error = attach(q, n);
    if (!error)
        q->count++;
    return error;
}

/* Enables or disables a note. One that is disabled must not wake a thread. */
static void enable(const queue *q, knote *n, int is_enabled) {
    n->what.flags &= (uint16_t)~EV_DISABLE;
    if (!is_enabled)
        n->what.flags |= EV_DISABLE;
    if (n->what.filter != EVFILT_READ)
        return;
    n->is_active = 0;
    struct epoll_event when = {.events = is_enabled ? EPOLLIN : 0,
                               .data.fd = (int)n->what.ident};
    if (epoll_ctl(q->fd, EPOLL_CTL_MOD, (int)n->what.ident, &when))
        abort();
}

static int change_one(queue *q, const struct kevent *change) {
    ptrdiff_t at = find_note(q, change);
    int error = 0;
    if (change->flags & EV_DELETE) {
        if (at < 0)
            return ENOENT;
        drop(q, (size_t)at);
        return 0;
    }
    if (at < 0) {
        if (!(change->flags & EV_ADD))
            return ENOENT;
        error = add(q, change);
        at = find_note(q, change);
        if (error || at < 0)
            return error;
    } else if (change->filter == EVFILT_PROC) {
        q->notes[at].what.fflags = change->fflags;
    }
    knote *n = &q->notes[at];
    if (change->flags & (EV_DISABLE | EV_ENABLE))
        enable(q, n, !(change->flags & EV_DISABLE));
    if (change->filter == EVFILT_USER && (change->fflags & NOTE_TRIGGER))
        activate(q, n, 0, 0);
    return 0;
}

/* Activates the notes whose descriptors are ready. */
static void check_descriptors(queue *q) {
    for (size_t i = 0; i < q->count; i++) {
        knote *n = &q->notes[i];
        int fd = n->what.filter == EVFILT_READ ? (int)n->what.ident : n->fd;
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int is_wanted = !n->is_active && !(n->what.flags & EV_DISABLE);
        if (fd >= 0 && is_wanted && poll(&poll_fd, 1, 0) == 1)
            activate(q, n, 0, 1);
    }
}

/* Reads the processes of all queues, since one queue may wait for another. */
static void read_processes(void) {
    for (size_t i = 0; i < queue_count; i++)
        for (size_t j = 0; j < queues[i].count; j++) {
            const knote *n = &queues[i].notes[j];
            if (n->what.filter == EVFILT_PROC && !n->is_active)
                live_refresh((int32_t)n->what.ident);
        }
}

static ptrdiff_t next_active(const queue *q) {
    ptrdiff_t first = -1;
    for (size_t i = 0; i < q->count; i++)
        if (q->notes[i].is_active && !(q->notes[i].what.flags & EV_DISABLE) &&
            (first < 0 || q->notes[i].turn < q->notes[first].turn))
            first = (ptrdiff_t)i;
    return first;
}

static int collect(queue *q, struct kevent *out, int room) {
    machine_now(); /* what is due happens */
    if (fake.is_live)
        read_processes();
    check_descriptors(q);
    int count = 0;
    for (ptrdiff_t at; count < room && (at = next_active(q)) >= 0; count++) {
        knote *n = &q->notes[at];
        out[count] = n->what;
        out[count].fflags = n->what.filter == EVFILT_PROC ? n->pending : 0;
        out[count].data = n->data;
        n->is_active = 0;
        n->pending = 0;
        if (n->what.flags & EV_ONESHOT)
            drop(q, (size_t)at);
    }
    if (next_active(q) < 0) {
        uint64_t rung;
        if (read(q->bell, &rung, sizeof rung) < 0 && errno != EAGAIN)
            abort();
    }
    return count;
}

/* Applies changes. An error goes into `out` if there is room for it, or ends
   the call. */
static int change_all(queue *q, const struct kevent *changes, int count,
                      struct kevent *out, int room, int *filled) {
    for (int i = 0; i < count; i++) {
        int error = change_one(q, &changes[i]);
        if (!error && !(changes[i].flags & EV_RECEIPT))
            continue;
        if (*filled < room) {
            out[*filled] = changes[i];
            out[*filled].flags |= EV_ERROR;
            out[*filled].data = error;
            ++*filled;
        } else if (error) {
            return error;
        }
    }
    return 0;
}

static int64_t real_now(void) { return real_clock(CLOCK_MONOTONIC); }

int kevent(int fd, const struct kevent *changes, int change_count,
           struct kevent *events, int room, const struct timespec *timeout) {
    int64_t wait = INT64_MAX / 2;
    if (timeout)
        wait = timeout->tv_sec * 1000000000LL + timeout->tv_nsec;
    int64_t deadline = real_now() + wait;
    int count = 0;
    lock_machine();
    ask("kevent");
    queue *q = find_queue(fd);
    int error =
        q ? change_all(q, changes, change_count, events, room, &count) : EBADF;
    int is_done = error || count || !room;
    unlock_machine();
    while (!is_done) {
        lock_machine();
        q = find_queue(fd);
        if (!q)
            error = EBADF;
        else
            count = collect(q, events, room);
        int reads = fake.is_live || fake.runs_from;
        unlock_machine();
        int64_t left = deadline - real_now();
        is_done = error || count || left <= 0;
        if (is_done)
            break;
        struct epoll_event rung;
        int ms = reads || left < 1000000 ? 0 : (int)(left / 1000000);
        if (reads)
            ms = left < 1000000 * READ_EVERY_MS ? 1 : READ_EVERY_MS;
        if (epoll_wait(fd, &rung, 1, ms ? ms : 1) < 0) {
            error = errno;
            is_done = 1;
        }
    }
    if (error)
        errno = error;
    return error ? -1 : count;
}
