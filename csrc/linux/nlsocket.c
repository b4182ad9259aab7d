/* Netlink sockets: opened, drained in batches, their losses counted. */
#include "nlsocket.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55 /* Linux 4.12 */
#endif

/* SK_MEMINFO_DROPS of linux/sock_diag.h, and how many numbers there are. */
enum { MEMINFO_DROPS = 8, MEMINFO_COUNT = 9 };

/* The most messages received per system call, and the longest that is expected:
   a taskstats record with a second one of its process has less than 1,300
   bytes. */
enum { BATCH = 32, LONGEST = 2048 };

struct mw_batch {
    struct mmsghdr heads[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_nl senders[BATCH];
    char data[BATCH][LONGEST];
};

static struct mw_batch *new_batch(void) {
    struct mw_batch *batch = calloc(1, sizeof *batch);
    for (size_t i = 0; batch && i < BATCH; i++) {
        batch->parts[i].iov_base = batch->data[i];
        batch->parts[i].iov_len = LONGEST;
        batch->heads[i].msg_hdr.msg_iov = &batch->parts[i];
        batch->heads[i].msg_hdr.msg_iovlen = 1;
        batch->heads[i].msg_hdr.msg_name = &batch->senders[i];
        batch->heads[i].msg_hdr.msg_namelen = sizeof batch->senders[i];
    }
    return batch;
}

static void set_room(int fd, int room) {
    /* The kernel doubles the value. */
    int value = room / 2;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value);
}

int mw_netlink_open(mw_netlink *s, int protocol, int room, uint32_t group,
                    const struct sock_filter *filter, size_t filter_length) {
    memset(s, 0, sizeof *s);
    s->fd =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (s->fd < 0)
        return -errno;
    set_room(s->fd, room);
    if (filter) {
        struct sock_fprog program = {.len = (unsigned short)filter_length,
                                     .filter = (struct sock_filter *)filter};
        if (setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                       sizeof program))
            return -errno;
    }
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = group};
    socklen_t length = sizeof address;
    if (bind(s->fd, (struct sockaddr *)&address, sizeof address) ||
        getsockname(s->fd, (struct sockaddr *)&address, &length))
        return -errno;
    s->port = address.nl_pid;
    s->batch = new_batch();
    return s->batch ? 0 : -ENOMEM;
}

/* Returns how many messages were dropped since the last call, or 1 if the
   kernel does not say. */
static uint64_t count_drops(mw_netlink *s) {
    uint32_t info[MEMINFO_COUNT] = {0};
    socklen_t length = sizeof info;
    if (getsockopt(s->fd, SOL_SOCKET, SO_MEMINFO, info, &length) ||
        length < sizeof info)
        return 1;
    uint32_t drops = info[MEMINFO_DROPS] - s->drops;
    s->drops = info[MEMINFO_DROPS];
    return drops;
}

static int take_batch(struct mw_batch *batch, int count, uint64_t *lost,
                      int (*take)(void *context, const char *data,
                                  size_t length),
                      void *context) {
    int error = 0;
    for (int i = 0; i < count; i++) {
        struct mmsghdr *head = &batch->heads[i];
        if (head->msg_hdr.msg_flags & MSG_TRUNC)
            ++*lost;
        else if (take && !error && !batch->senders[i].nl_pid)
            error = take(context, batch->data[i], head->msg_len);
        head->msg_hdr.msg_namelen = sizeof batch->senders[i];
    }
    return error;
}

int mw_netlink_drain(mw_netlink *s, uint64_t *lost,
                     int (*take)(void *context, const char *data,
                                 size_t length),
                     void *context) {
    int error = 0, overrun = 0;
    while (!error) {
        int n = recvmmsg(s->fd, s->batch->heads, BATCH, MSG_DONTWAIT, NULL);
        if (n >= 0)
            error = take_batch(s->batch, n, lost, take, context);
        else if (errno == ENOBUFS)
            overrun = 1; /* reported once; what is there can still be read */
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            error = -errno;
    }
    /* The socket is empty now, so nothing more is dropped meanwhile. */
    if (overrun)
        *lost += count_drops(s);
    return error;
}

void mw_netlink_close(mw_netlink *s) {
    if (s->fd >= 0)
        close(s->fd);
    free(s->batch);
    s->fd = -1;
    s->batch = NULL;
}
