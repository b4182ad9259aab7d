/* Netlink sockets that many messages come in by. (The name is not netlink.h:
   the compiler would take that for the kernel's <linux/netlink.h>.) */
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

/* Opens a socket that keeps up to `room` bytes, of the kernel's way to count,
   or as much of it as this process may have. What `filter` (NULL: none) drops
   never gets in. `group` is the multicast group to join, 0 for none. 0 or
   -errno; close it in both cases. */
int mw_netlink_open(mw_netlink *socket, int protocol, int room, uint32_t group,
                    const struct sock_filter *filter, size_t filter_length);

/* Hands every datagram of the kernel's to `take`, without waiting, while that
   returns 0; `take` may be NULL. 0 or -errno. Adds to `*lost` those that came
   while there was no room. */
int mw_netlink_drain(mw_netlink *socket, uint64_t *lost,
                     int (*take)(void *context, const char *data,
                                 size_t length),
                     void *context);

void mw_netlink_close(mw_netlink *socket);

#endif
