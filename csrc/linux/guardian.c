/* The guardian, from its start to the last process of the job. */
#include "guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exit_filter.h"
#include "notification.h"
#include "parse.h"
#include "short_slices.h"
#include "snapshot.h"

#ifndef SYS_close_range
#define SYS_close_range 436 /* the same number on every architecture */
#endif

/* The most calls that wait to be answered. */
enum { MOST_WAITING = 64 };

/* Room for the kernel's structs, should they grow. */
enum { MOST_BYTES = 512 };

/* PID_MAX_LIMIT of the kernel. */
enum { MOST_PIDS = 4 << 20 };

/* The only descriptors that the guardian has. */
enum { SOCKET, PROC, LISTENER };

typedef struct {
    uint64_t id;
    int64_t time; /* when it was received */
    int32_t tid;
    int32_t status;
    enum mw_filter_call call;
} waiting_call;

typedef struct {
    mw_guardian *shared;
    bool watched;                     /* memwatch is there to read records */
    bool ended;                       /* no process is left under the filter */
    waiting_call calls[MOST_WAITING]; /* a ring from `first` on */
    size_t first;
    size_t count;
    size_t notification_size;
    _Alignas(16) char bytes[MOST_BYTES];
    mw_snapshot snapshot;
    unsigned char tried[MOST_PIDS / 8]; /* a bit for each process */
} guardian;

/* --- becoming the guardian --- */

/* Closes all descriptors but SOCKET, so that the guardian keeps no pipe of
   another process open. */
static void close_all(void) {
    if (!syscall(SYS_close_range, SOCKET + 1, ~0u, 0))
        return;
    /* In a sandbox that refuses close_range(2): close what /proc lists. */
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    _Alignas(8) char entries[4096];
    long n, closed;
    do {
        closed = 0;
        lseek(dir, 0, SEEK_SET);
        while ((n = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0)
            for (long at = 0; at < n;) {
                /* struct linux_dirent64: u64, s64, u16 length, u8, name */
                uint16_t length;
                memcpy(&length, entries + at + 16, sizeof length);
                int32_t fd = mw_parse_pid(entries + at + 19);
                if (fd > SOCKET && fd != dir && !close(fd))
                    closed++;
                at += length;
            }
    } while (closed);
    close(dir);
}

static bool is_own_proc(void) {
    char target[16];
    ssize_t n = readlinkat(PROC, "self", target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return mw_parse_pid(target) == (int32_t)getpid();
}

/* Detaches from the terminal, the caller's descriptors and its folder. Returns
   whether /proc could be opened. */
static bool settle(int socket) {
    setsid();
    if (socket != SOCKET && dup2(socket, SOCKET) < 0)
        return false;
    close_all();
    prctl(PR_SET_NAME, "memwatch-guard");
    mw_take_short_slices();
    if (chdir("/"))
        return false;
    /* /proc must be that of this pid namespace, or its numbers would be those
       of other processes. */
    return open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) == PROC &&
           is_own_proc();
}

/* Waits for the listener, which becomes LISTENER. Returns whether it came. */
static bool take_listener(void) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    char byte;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n;
    while ((n = recvmsg(SOCKET, &message, MSG_CMSG_CLOEXEC)) < 0 &&
           errno == EINTR)
        ;
    struct cmsghdr *header = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    int fd = -1;
    if (header && header->cmsg_level == SOL_SOCKET &&
        header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    /* A received descriptor gets the lowest free number. */
    return fd == LISTENER;
}

/* --- calls --- */

/* Calls ioctl(2), whose second argument has another type in each C library. */
static bool control(unsigned long request, uintptr_t argument) {
    return !syscall(SYS_ioctl, LISTENER, request, argument);
}

static void receive(guardian *g) {
    mw_notification *n = (mw_notification *)(void *)g->bytes;
    /* The kernel demands zeros. */
    memset(g->bytes, 0, g->notification_size);
    /* ENOENT: since poll() the calling thread was killed, or had a signal to
       handle. */
    if (!control(MW_NOTIFICATION_RECV, (uintptr_t)n))
        return;
    waiting_call *call = &g->calls[(g->first + g->count++) % MOST_WAITING];
    call->id = n->id;
    call->time = mw_now();
    call->tid = (int32_t)n->tid;
    call->status = (int32_t)(n->args[0] & 0xff) << 8;
    call->call = mw_filter_call(n->architecture, (uint32_t)n->number);
}

/* Receives every call that has come. A call that has been received is not
   interrupted by signals any more (see set_filter_well()), so this is done
   often. */
static void collect(guardian *g, int timeout) {
    while (g->count < MOST_WAITING) {
        struct pollfd fds[] = {
            {.fd = LISTENER, .events = POLLIN},
            {.fd = g->watched ? SOCKET : -1, .events = 0},
        };
        if (poll(fds, 2, timeout) <= 0)
            return;
        timeout = 0;
        if (fds[1].revents)
            g->watched = false;
        if (fds[0].revents & POLLIN) {
            receive(g);
        } else if (fds[0].revents) {
            g->ended = true;
            return;
        }
    }
}

/* Returns whether the caller still waits. If so, what was read before is
   true. */
static bool still_waits(uint64_t id) {
    return !ioctl(LISTENER, MW_NOTIFICATION_ID_VALID, &id) ||
           !ioctl(LISTENER, MW_NOTIFICATION_ID_VALID_BEFORE, &id);
}

/* Lets the caller go on. Returns whether it was still waiting. */
static bool answer(uint64_t id) {
    mw_response response = {.id = id, .flags = MW_RESPONSE_CONTINUE};
    return control(MW_NOTIFICATION_SEND, (uintptr_t)&response);
}

/* --- serving them --- */

/* Returns whether a process has tried to execute something. A process that was
   killed leaves its bit to the next one with its number, which is then read
   with more care than it needs. */
static bool has_tried(const guardian *g, int32_t pid) {
    return g->tried[pid / 8] >> pid % 8 & 1;
}

static void set_tried(guardian *g, int32_t pid, bool tried) {
    unsigned char bit = (unsigned char)(1u << pid % 8);
    if (tried)
        g->tried[pid / 8] |= bit;
    else
        g->tried[pid / 8] &= (unsigned char)~bit;
}

/* Returns whether a thread's number is also that of its process. */
static bool is_first_thread(int32_t tid) {
    return !syscall(SYS_tgkill, tid, tid, 0) || errno == EPERM;
}

/* Returns whether a process has executed nothing in all its life. */
static bool is_fresh(const guardian *g, const waiting_call *call) {
    return call->call == MW_CALL_EXEC && !has_tried(g, call->tid) &&
           is_first_thread(call->tid);
}

/* Records what was read of a process. */
static void record(guardian *g, const waiting_call *call, mw_event *event) {
    event->time = call->time;
    event->kind = MW_EVENT_EXECUTING;
    if (call->call == MW_CALL_EXIT) {
        event->kind = MW_EVENT_EXITING;
        event->status = call->status;
        event->valid |= MW_HAS_STATUS;
    }
    mw_ring_write(g->shared->ring, event, sizeof *event, g->snapshot.text,
                  g->snapshot.text_length);
}

static void serve(guardian *g) {
    const waiting_call call = g->calls[g->first];
    g->first = (g->first + 1) % MOST_WAITING;
    g->count--;
    /* tid 0: the caller is in a pid namespace that cannot be seen from here. */
    if (!g->watched || call.call == MW_CALL_OTHER || call.tid <= 0 ||
        call.tid >= MOST_PIDS) {
        answer(call.id);
        return;
    }
    mw_event event = {0};
    g->snapshot.text_length = 0;
    bool fresh = is_fresh(g, &call);
    bool known =
        fresh || mw_snapshot_numbers(&g->snapshot, call.tid,
                                     call.call == MW_CALL_EXEC, &event);
    collect(g, 0);
    if (!fresh)
        mw_snapshot_image(&g->snapshot, &event);
    collect(g, 0);
    /* Recorded before the process goes on, so that the record is there when
       another source reports its exit. */
    if (!fresh && known && still_waits(call.id))
        record(g, &call, &event);
    else if (!fresh && !known)
        mw_ring_drop(g->shared->ring);
    /* If this fails, the process has been killed, or handles a signal and will
       call again. */
    if (!answer(call.id))
        return;
    /* The thread that executes something becomes the first of its process. */
    set_tried(g, known && !fresh ? event.pid : call.tid,
              call.call == MW_CALL_EXEC);
    if (fresh) {
        /* The process need not wait for this: it cannot exit without the
           guardian. */
        mw_snapshot_identity(&g->snapshot, call.tid, &event);
        record(g, &call, &event);
    }
}

static guardian *new_guardian(mw_guardian *shared) {
    guardian *g = mmap(NULL, sizeof *g, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mw_notification_sizes sizes;
    if (g == MAP_FAILED ||
        syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) ||
        sizes.notification > sizeof g->bytes)
        return NULL;
    g->shared = shared;
    g->snapshot.proc_fd = PROC;
    g->snapshot.dir = -1;
    g->snapshot.tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    g->watched = true;
    g->notification_size = sizes.notification;
    return g;
}

_Noreturn void mw_guardian_run(mw_guardian *shared, int socket) {
    guardian *g = settle(socket) ? new_guardian(shared) : NULL;
    if (!g)
        _exit(1);
    atomic_store(&shared->pid, (int32_t)getpid());
    if (send(SOCKET, "", 1, MSG_NOSIGNAL) == 1 && take_listener()) {
        /* Linux 6.6: the caller sleeps while it waits, so its processor can run
           the guardian at once, and the other way round: 20 us instead of
           75. */
        control(MW_NOTIFICATION_SET_FLAGS, MW_NOTIFICATION_SYNC_WAKE_UP);
        while (!g->ended) {
            collect(g, g->count ? 0 : -1);
            if (g->count)
                serve(g);
        }
    }
    atomic_store(&shared->ended, 1);
    _exit(0);
}
