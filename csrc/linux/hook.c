/*
 * The exit hook in memwatch's own process: it starts the guardian, puts the
 * command under the filter, and reads what the guardian writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exit_filter.h"
#include "feed.h"
#include "guardian.h"
#include "platform.h"

/* Room for 10,000 processes, or 30 command lines of 128 KiB, between two
   ticks. */
enum { RING_BYTES = 4 << 20 };

/* The shared memory holds mw_guardian, then the ring. */
static const size_t RING_OFFSET = 4096;
static const size_t SHARED_BYTES = 4096 + sizeof(mw_ring) + RING_BYTES;

/* How long the command waits for the guardian to start, which takes well under
   a millisecond unless the machine is out of memory. */
enum { PATIENCE_MS = 10000 };

struct mw_hook {
    mw_feed feed; /* first: see mw_hook_feed() */
    mw_guardian *shared;
    int socket;    /* its other end is the guardian's */
    bool adopted;  /* the guardian is the caller's child after all */
    bool reported; /* that the guardian has ended */
};

/* Forks a child with every signal blocked, because the caller's handlers must
   not run in it. */
static pid_t fork_quietly(sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    pid_t pid = fork();
    if (pid) {
        int error = errno;
        pthread_sigmask(SIG_SETMASK, before, NULL);
        errno = error;
    }
    return pid;
}

static void wait_for(pid_t pid) {
    /* ECHILD if the caller ignores SIGCHLD: then it has ended. */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Starts the guardian as an orphan, so that it need not be reaped here unless
   this process adopts orphans. */
static int start_guardian(mw_guardian *shared, int socket) {
    sigset_t before;
    pid_t pid = fork_quietly(&before);
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        pid = fork();
        if (pid == 0)
            mw_guardian_run(shared, socket);
        _exit(pid < 0);
    }
    wait_for(pid);
    return 0;
}

static int map_shared(mw_guardian **out) {
    void *memory = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    mw_guardian *shared = memory;
    shared->ring = (mw_ring *)(void *)((char *)memory + RING_OFFSET);
    mw_ring_init(shared->ring, RING_BYTES);
    atomic_init(&shared->pid, 0);
    atomic_init(&shared->state, -EAGAIN);
    atomic_init(&shared->ended, 0);
    *out = shared;
    return 0;
}

/* Returns whether the guardian's end of the socket has been closed, which means
   that the guardian has ended. */
static bool has_guardian_ended(const mw_hook *hook) {
    struct pollfd fd = {.fd = hook->socket, .events = 0};
    return poll(&fd, 1, 0) > 0;
}

static int drain(mw_feed *feed, mw_event_list *out) {
    mw_hook *hook = (mw_hook *)(void *)feed;
    mw_ring *ring = hook->shared->ring;
    /* Checked before the last record is read, so that none is missed. */
    bool has_ended = !hook->reported && has_guardian_ended(hook);
    const void *bytes;
    size_t length;
    while ((bytes = mw_ring_peek(ring, &length))) {
        mw_event record;
        memcpy(&record, bytes, sizeof record);
        record.text_length = length - sizeof record;
        if (!mw_event_copy(out, &record, (const char *)bytes + sizeof record))
            return -ENOMEM;
        mw_ring_release(ring);
    }
    feed->lost = mw_ring_dropped(ring);
    if (!has_ended)
        return 0;
    hook->reported = true;
    return atomic_load(&hook->shared->ended) ? 0 : -EPIPE;
}

/* Does nothing: mw_hook_free() closes what the feed uses. */
static void keep_open(mw_feed *feed) { (void)feed; }

static void close_if_open(int fd) {
    if (fd >= 0)
        close(fd);
}

int mw_hook_new(mw_hook **out) {
    *out = NULL;
    mw_hook *hook = calloc(1, sizeof *hook);
    if (!hook)
        return -ENOMEM;
    hook->feed = (mw_feed){
        .event_fd = -1, .exec_fd = -1, .drain = drain, .close = keep_open};
    hook->socket = -1;
    int ends[2] = {-1, -1};
    int error = map_shared(&hook->shared);
    if (!error && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        error = -errno;
    /* Above the standard streams, which the command's child sets up before it
       calls mw_hook_install(). */
    if (!error && (hook->socket = fcntl(ends[0], F_DUPFD_CLOEXEC, 3)) < 0)
        error = -errno;
    close_if_open(ends[0]);
    int is_subreaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
    hook->adopted = is_subreaper;
    if (!error)
        error = start_guardian(hook->shared, ends[1]);
    close_if_open(ends[1]);
    if (error)
        mw_hook_free(hook);
    else
        *out = hook;
    return error;
}

int mw_hook_state(const mw_hook *hook) {
    return atomic_load(&hook->shared->state);
}

void mw_hook_free(mw_hook *hook) {
    if (!hook)
        return;
    close_if_open(hook->socket);
    if (hook->shared) {
        pid_t guardian = atomic_load(&hook->shared->pid);
        if (guardian && hook->adopted)
            waitpid(guardian, NULL, WNOHANG);
        munmap(hook->shared, SHARED_BYTES);
    }
    free(hook);
}

int mw_hook_feed(mw_hook *hook, mw_feed **out) {
    *out = &hook->feed;
    return 0;
}

/* --- in the command's child --- */

/* Waits until the guardian is ready to take the listener: 0 or -errno. */
static int wait_for_guardian(const mw_hook *hook) {
    struct pollfd fd = {.fd = hook->socket, .events = POLLIN};
    char byte;
    int n;
    while ((n = poll(&fd, 1, PATIENCE_MS)) < 0 && errno == EINTR)
        ;
    if (n != 1)
        return -ETIMEDOUT;
    return recv(hook->socket, &byte, 1, 0) == 1 ? 0 : -EPIPE;
}

/* Sends one byte, and the listener with it unless it is negative. */
static int send_listener(const mw_hook *hook, int listener) {
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof listener)];
    } control;
    memset(&control, 0, sizeof control);
    if (listener >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof listener);
        memcpy(CMSG_DATA(header), &listener, sizeof listener);
    }
    ssize_t n;
    while ((n = sendmsg(hook->socket, &message, MSG_NOSIGNAL)) < 0 &&
           errno == EINTR)
        ;
    return n < 0 ? -errno : 0;
}

void mw_hook_install(mw_hook *hook) {
    int error = wait_for_guardian(hook);
    if (!error) {
        int listener = mw_filter_install();
        /*
         * From here on this process cannot execute anything without the
         * guardian. If that is killed within these few microseconds, the
         * command fails to start, with ENOSYS.
         */
        error = send_listener(hook, listener);
        if (listener >= 0)
            close(listener);
        else
            error = listener;
    }
    atomic_store(&hook->shared->state, error);
    close(hook->socket);
}

/* --- trying it --- */

int mw_hook_probe(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    sigset_t before;
    pid_t pid = fork_quietly(&before);
    int result = pid < 0 ? -errno : -EIO;
    if (pid == 0) {
        int listener = mw_filter_install();
        int error = listener < 0 ? listener : 0;
        if (write(ends[1], &error, sizeof error) < 0)
            error = -errno;
        /* exit_group would wait for an answer now. This is the only thread. */
        for (;;)
            syscall(SYS_exit, 0);
    }
    close(ends[1]);
    if (pid > 0) {
        int error;
        ssize_t n;
        while ((n = read(ends[0], &error, sizeof error)) < 0 && errno == EINTR)
            ;
        if (n == (ssize_t)sizeof error)
            result = error;
        wait_for(pid);
    }
    close(ends[0]);
    return result;
}
