/* The event source proc connector: every fork, exec and exit on the machine. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "feed.h"
#include "messages.h"
#include "nlsocket.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#ifndef NETLINK_NO_ENOBUFS
#define NETLINK_NO_ENOBUFS 5 /* Linux 2.6.30 */
#endif

/* CN_IDX_PROC and CN_VAL_PROC; the multicast group's bit is the same number. */
enum { GROUP = 1 };

/* Room for about 40,000 events: hundreds of processes a tick while the reader
   is stopped for a second or more. */
enum { ROOM = 32 << 20 };

/* How often to ask again if the kernel does not answer: see subscribe(). */
enum { MOST_TRIES = 8 };

struct connector {
    mw_feed feed;
    mw_netlink events;
    mw_netlink execs;
    int64_t to_boottime; /* from the messages' clock, CLOCK_MONOTONIC */
    mw_event_list *out;  /* of the current drain() */
};

/*
 * Offsets that the sockets' filters load, from the netlink header, 16 bytes
 * before the cn_msg. Loads are big-endian while the message is in the machine's
 * byte order, hence htonl(); pairs of fields are only compared with each other.
 */
enum {
    WHAT = 36,
    FORK_PID = 60,
    FORK_TGID = 64,
    EXIT_PID = 52,
    EXIT_TGID = 56,
    EXIT_CODE = 60
};
enum { EVENT_NONE = 0, EVENT_FORK = 1, EVENT_EXEC = 2 };
#define EVENT_EXIT 0x80000000u

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IF(value, yes, no)                                                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(value), yes, no)
#define IF_SAME(yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, yes, no)
#define KEEP BPF_STMT(BPF_MISC | BPF_TAX, 0)
#define RETURN(length) BPF_STMT(BPF_RET | BPF_K, length)

/* Opens the socket that receives forks, execs and exits of processes, and
   answers to requests. Of other threads it receives only an exit with a code,
   which may be the code that the whole process ends with. */
static int open_events(mw_netlink *events) {
    /* The numbers of a jump are how many lines to skip. */
    const struct sock_filter filter[] = {
        /* 0 */ LOAD(WHAT),
        /* 1 */ IF(EVENT_EXEC, 13, 0),
        /* 2 */ IF(EVENT_FORK, 2, 0),
        /* 3 */ IF(EVENT_EXIT, 5, 0),
        /* 4 */ IF(EVENT_NONE, 10, 11),
        /* 5 */ LOAD(FORK_PID),
        /* 6 */ KEEP,
        /* 7 */ LOAD(FORK_TGID),
        /* 8 */ IF_SAME(6, 7),
        /* 9 */ LOAD(EXIT_PID),
        /* 10 */ KEEP,
        /* 11 */ LOAD(EXIT_TGID),
        /* 12 */ IF_SAME(2, 0),
        /* 13 */ LOAD(EXIT_CODE),
        /* 14 */ IF(0, 1, 0),
        /* 15 */ RETURN(UINT32_MAX),
        /* 16 */ RETURN(0),
    };
    return mw_netlink_open(events, NETLINK_CONNECTOR, ROOM, GROUP, filter,
                           sizeof filter / sizeof *filter);
}

/* Opens the socket that becomes readable at an exec. It has room for little
   more than one message; the rest is dropped, and that is no error. */
static int open_execs(mw_netlink *execs) {
    const struct sock_filter filter[] = {
        LOAD(WHAT),
        IF(EVENT_EXEC, 0, 1),
        RETURN(UINT32_MAX),
        RETURN(0),
    };
    int error = mw_netlink_open(execs, NETLINK_CONNECTOR, 0, GROUP, filter,
                                sizeof filter / sizeof *filter);
    int one = 1;
    if (!error && setsockopt(execs->fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one,
                             sizeof one))
        error = -errno;
    return error;
}

/* PROC_CN_MCAST_LISTEN and PROC_CN_MCAST_IGNORE */
enum { LISTEN = 1, IGNORE = 2 };

static int request(const mw_netlink *events, uint32_t what) {
    struct {
        struct nlmsghdr header;
        uint32_t idx, val, seq, ack;
        uint16_t length, flags;
        uint32_t what;
    } message;
    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = sizeof message;
    message.header.nlmsg_type = NLMSG_DONE;
    message.idx = message.val = GROUP;
    message.ack = events->port;
    message.length = sizeof message.what;
    message.what = what;
    return send(events->fd, &message, sizeof message, 0) < 0 ? -errno : 0;
}

struct answer {
    uint32_t ack; /* that we wait for */
    int found;
    int error;
};

static int look_for_answer(void *context, const char *data, size_t length) {
    struct answer *answer = context;
    size_t offset = 0;
    mw_part part;
    uint32_t ack;
    int error;
    while (mw_parse_netlink(data, length, &offset, &part))
        if (mw_parse_connector_ack(part.data, part.length, &ack, &error) &&
            ack == answer->ack) {
            answer->found = 1;
            answer->error = -error;
        }
    return 0;
}

/*
 * Asks the kernel for events. It answers before send() returns, to every socket
 * of the group, or not at all: if this process is not in the first namespaces,
 * or if the kernel has counted fewer listeners than there are. The latter
 * happens before Linux 6.6 if a program has sent IGNORE without LISTEN; each
 * LISTEN, from a new socket, makes up for one of those.
 */
static int subscribe(struct connector *c) {
    for (int i = 0; i < MOST_TRIES; i++) {
        int error = open_events(&c->events);
        if (!error)
            error = request(&c->events, LISTEN);
        struct answer answer = {.ack = c->events.port + 1};
        if (!error)
            error = mw_netlink_drain(&c->events, &c->feed.lost, look_for_answer,
                                     &answer);
        if (error || answer.found)
            return error ? error : answer.error;
        mw_netlink_close(&c->events);
    }
    return mw_initial_namespaces() ? -EOPNOTSUPP : -ENXIO;
}

/* Returns the difference between CLOCK_BOOTTIME and CLOCK_MONOTONIC, which
   changes only while the machine is suspended. A small change is an
   interruption between two readings: then it is `before`. */
static int64_t follow_clocks(int64_t before) {
    static const int64_t NOISE = 1000000;
    int64_t best = INT64_MAX, offset = before;
    for (int i = 0; i < 5 && best > 1000; i++) {
        int64_t from = mw_read_clock(CLOCK_MONOTONIC);
        int64_t boot = mw_read_clock(CLOCK_BOOTTIME);
        int64_t to = mw_read_clock(CLOCK_MONOTONIC);
        if (to - from >= best)
            continue;
        best = to - from;
        offset = boot - (from + best / 2);
    }
    int64_t moved = offset - before;
    return moved > NOISE || moved < -NOISE ? offset : before;
}

static int take(void *context, const char *data, size_t length) {
    struct connector *c = context;
    size_t offset = 0;
    mw_part part;
    mw_message message;
    int error = 0;
    while (!error && mw_parse_netlink(data, length, &offset, &part)) {
        if (mw_parse_connector(part.data, part.length, &message))
            continue;
        message.event.time += c->to_boottime;
        error = mw_message_add(&message, c->out);
    }
    return error;
}

static int drain(mw_feed *feed, mw_event_list *out) {
    struct connector *c = (struct connector *)feed;
    size_t from = out->count;
    uint64_t ignored = 0;
    c->out = out;
    c->to_boottime = follow_clocks(c->to_boottime);
    int error = mw_netlink_drain(&c->execs, &ignored, NULL, NULL);
    if (!error)
        error = mw_netlink_drain(&c->events, &feed->lost, take, c);
    mw_event_list_sort(out, from);
    return error;
}

static void close_feed(mw_feed *feed) {
    struct connector *c = (struct connector *)feed;
    /* Otherwise the kernel goes on to make messages that no program reads. */
    if (c->events.fd >= 0)
        request(&c->events, IGNORE);
    mw_netlink_close(&c->events);
    mw_netlink_close(&c->execs);
    free(c);
}

int mw_connector_open(mw_feed **out) {
    *out = NULL;
    struct connector *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->events.fd = c->execs.fd = -1;
    c->feed.drain = drain;
    c->feed.close = close_feed;
    int error = subscribe(c);
    if (!error)
        error = open_execs(&c->execs);
    if (error) {
        close_feed(&c->feed);
        return error == -EPROTONOSUPPORT ? -EOPNOTSUPP : error;
    }
    c->feed.event_fd = c->events.fd;
    c->feed.exec_fd = c->execs.fd;
    c->feed.lost = 0;
    *out = &c->feed;
    return 0;
}
