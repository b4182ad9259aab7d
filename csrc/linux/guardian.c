#include "guardian.h"

#include <dirent.h>
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
#include "procfs.h"

#ifndef SYS_close_range
#define SYS_close_range 436 /* the same number on every architecture */
#endif

/* proc_pid_stat(5), flags: forked, and nothing executed since. */
#define PF_FORKNOEXEC 0x40u

/* The text of an image: a name, a path, a command line of 128 KiB. */
enum { IMAGE_TEXT = 64 + 4096 + (128 << 10) };

/* Calls that wait to be answered. */
enum { MOST_WAITING = 64 };

/* Room for the kernel's own structs, should they grow. */
enum { MOST_BYTES = 512 };

/* The only descriptors it has. */
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
    uint64_t tick_ns;
    bool watched;                     /* there is a memwatch to write for */
    bool ended;                       /* no process is left under the filter */
    waiting_call calls[MOST_WAITING]; /* a ring, too */
    size_t first;
    size_t count;
    size_t notification_size;
    char file[MW_FILE_TEXT];
    char text[IMAGE_TEXT];
    _Alignas(16) char bytes[MOST_BYTES];
} guardian;

/* --- becoming one --- */

/* Closes all but SOCKET, so that nobody's pipe stays open because of us. */
static void close_all(void) {
    if (!syscall(SYS_close_range, SOCKET + 1, ~0u, 0))
        return;
    /* A sandbox that does not know it: close what /proc lists. */
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

/* A process apart: deaf to the terminal, in nobody's way. */
static bool settle(int socket) {
    setsid();
    if (socket != SOCKET && dup2(socket, SOCKET) < 0)
        return false;
    close_all();
    prctl(PR_SET_NAME, "memwatch-guard");
    if (chdir("/"))
        return false;
    /* Of this pid namespace: else its numbers mean other processes. */
    return open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) == PROC &&
           is_own_proc();
}

/* Waits for the listener, and puts it in its place: whether it came. */
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
    /* The lowest free number it is. */
    return header && header->cmsg_level == SOL_SOCKET &&
           header->cmsg_type == SCM_RIGHTS;
}

/* --- calls --- */

static void receive(guardian *g) {
    mw_notification *n = (mw_notification *)(void *)g->bytes;
    /* The kernel wants zeros. */
    memset(g->bytes, 0, g->notification_size);
    /* One whose thread was killed, or had a signal to handle, since poll() is
       there no more: ENOENT. */
    if (ioctl(LISTENER, MW_NOTIFICATION_RECV, n))
        return;
    waiting_call *call = &g->calls[(g->first + g->count++) % MOST_WAITING];
    call->id = n->id;
    call->time = mw_now();
    call->tid = (int32_t)n->tid;
    call->status = (int32_t)(n->args[0] & 0xff) << 8;
    call->call = mw_filter_call(n->architecture, (uint32_t)n->number);
}

/* Takes every call that has come. A call that has been taken is not disturbed
   by signals any more, so this is done often: see set_filter_well(). */
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

/* Lets the caller go on: whether it was still there, and so all that was read
   of it is true. */
static bool answer(uint64_t id) {
    mw_response response = {.id = id, .flags = MW_RESPONSE_CONTINUE};
    return !ioctl(LISTENER, MW_NOTIFICATION_SEND, &response);
}

/* --- what is read --- */

/* "PID/name" */
static void path_of(char *path, int32_t pid, const char *name) {
    char digits[12];
    size_t count = 0, length = 0;
    do
        digits[count++] = (char)('0' + pid % 10);
    while (pid /= 10);
    while (count)
        path[length++] = digits[--count];
    path[length++] = '/';
    memcpy(path + length, name, strlen(name) + 1);
}

static ssize_t read_file(int32_t pid, const char *name, char *text,
                         size_t capacity) {
    char path[MW_PATH];
    path_of(path, pid, name);
    return mw_procfs_read(PROC, path, text, capacity);
}

static int read_stat(guardian *g, int32_t pid, mw_stat *out) {
    ssize_t n = read_file(pid, "stat", g->file, sizeof g->file);
    return n < 0 ? (int)n : mw_parse_stat(g->file, (size_t)n, out);
}

/* The text of the image, as mw_platform_image() has it. */
static size_t read_image(guardian *g, int32_t tid, const mw_stat *stat,
                         uint32_t *valid) {
    size_t length = strlen(stat->comm);
    memcpy(g->text, stat->comm, length);
    g->text[length++] = '\0';

    char path[MW_PATH];
    path_of(path, tid, "exe");
    ssize_t n = readlinkat(PROC, path, g->text + length, 4095);
    if (n > 0) {
        *valid |= MW_HAS_EXE;
        length += (size_t)n;
    }
    g->text[length++] = '\0';

    collect(g, 0);
    n = read_file(tid, "cmdline", g->text + length, IMAGE_TEXT - length);
    if (n > 0) {
        *valid |= MW_HAS_ARGV;
        length += (size_t)n;
        if (length == IMAGE_TEXT)
            *valid |= MW_ARGV_CUT;
    }
    return length;
}

/* Whether it could be told which process this is. */
static bool look(guardian *g, const waiting_call *call, mw_guardian_record *out,
                 size_t *text_length) {
    int32_t tid = call->tid, pid = tid;
    mw_stat stat;
    if (read_stat(g, tid, &stat))
        return false;
    /* Where there is but one thread, it is the one that names the process. Any
       new thread has PF_FORKNOEXEC, in an old process, too. */
    bool forked = stat.threads <= 1 && stat.flags & PF_FORKNOEXEC;
    bool brief = forked && call->call == MW_CALL_EXEC;
    collect(g, 0);
    if (!brief) {
        ssize_t n = read_file(tid, "status", g->file, sizeof g->file);
        size_t length = n > 0 ? (size_t)n : 0;
        if (mw_parse_watermark(g->file, length, &out->peak))
            out->valid |= MW_HAS_WATERMARK;
        if (stat.threads > 1)
            pid = mw_parse_tgid(g->file, length);
    }
    /* The image is the same for all threads; the rest is the first one's. It
       may have ended already, and has no image then. */
    uint64_t code = stat.start_code, stack = stat.start_stack;
    if (pid != tid && (!pid || read_stat(g, pid, &stat)))
        return false;
    out->pid = pid;
    out->ppid = stat.ppid;
    out->start = (int64_t)(stat.start_ticks * g->tick_ns);
    out->valid |= MW_HAS_START;
    if (stat.flags & PF_FORKNOEXEC)
        out->valid |= MW_INHERITED;
    if (brief)
        return true;
    out->user = (int64_t)(stat.user_ticks * g->tick_ns);
    out->system = (int64_t)(stat.system_ticks * g->tick_ns);
    out->valid |= MW_HAS_CPU;
    /* Both are random, and unrelated, unless that is switched off: then the
       stack still begins below arguments of another length. */
    out->mark = stack ? stack ^ code << 16 : 0;
    collect(g, 0);
    *text_length = read_image(g, tid, &stat, &out->valid);
    return true;
}

static void serve(guardian *g) {
    waiting_call call = g->calls[g->first];
    g->first = (g->first + 1) % MOST_WAITING;
    g->count--;
    bool watched = g->watched && call.call != MW_CALL_OTHER;
    mw_guardian_record record = {.time = call.time};
    size_t text_length = 0;
    bool known = watched && look(g, &call, &record, &text_length);
    collect(g, 0);
    if (!answer(call.id) || !watched)
        return;
    if (call.call == MW_CALL_EXIT) {
        record.kind = MW_NEWS_LAST;
        record.status = call.status;
        record.valid |= MW_HAS_STATUS;
    } else {
        record.kind = MW_NEWS_EXECUTING;
    }
    if (known)
        mw_ring_write(g->shared->ring, &record, sizeof record, g->text,
                      text_length);
    else
        mw_ring_drop(g->shared->ring);
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
    g->tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
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
        /* Linux 6.6: the caller sleeps while it waits, so its processor can
           run us at once, and the other way round. */
        ioctl(LISTENER, MW_NOTIFICATION_SET_FLAGS,
              MW_NOTIFICATION_SYNC_WAKE_UP);
        while (!g->ended) {
            collect(g, g->count ? 0 : -1);
            if (g->count)
                serve(g);
        }
    }
    atomic_store(&shared->ended, 1);
    _exit(0);
}
