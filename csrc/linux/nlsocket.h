/* Netlink sockets that receive many messages. (The name is not netlink.h: the
   compiler would take that for the kernel's <linux/netlink.h>.) */
#ifndef MW_LINUX_NLSOCKET_H
#define MW_LINUX_NLSOCKET_H

#include <stddef.h>
#include <stdint.h>

struct sock_filter;
struct mw_batch;

typedef struct mw_netlink {
    int fd; /* -1: closed */
    uint32_t drops;
    uint32_t port;
    struct mw_batch *batch;
} mw_netlink;

/* Opens a socket that keeps up to `room` bytes, as the kernel counts them, or
   as many as this process may have. What `filter` (NULL: none) drops takes no
   room. `group` is the multicast group to join, 0 for none. 0 or -errno; close
   the socket in both cases. */
int mw_netlink_open(mw_netlink *socket, int protocol, int room, uint32_t group,
                    const struct sock_filter *filter, size_t filter_length);

/* Passes every datagram from the kernel to `take`, without waiting, until that
   returns an error; `take` may be NULL. 0 or -errno. Adds to `*lost` the number
   of those that came while there was no room. */
int mw_netlink_drain(mw_netlink *socket, uint64_t *lost,
                     int (*take)(void *context, const char *data,
                                 size_t length),
                     void *context);

void mw_netlink_close(mw_netlink *socket);

#endif
