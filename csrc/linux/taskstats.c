/* The event source taskstats: the kernel's record of every thread that ends. */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "feed.h"
#include "messages.h"
#include "nlsocket.h"
#include "procfs.h"

/* Room for about 15,000 records. */
enum { ROOM = 32 << 20 };

struct taskstats {
    mw_feed feed;
    mw_netlink socket;
    uint16_t family;
    uint32_t unknown; /* bits of mw_valid whose values this kernel leaves 0 */
    char cpus[MW_FILE_TEXT]; /* processors whose records we asked for */
    mw_event_list *out;      /* of the current drain() */
};

/* TASKSTATS_CMD_GET and its attributes. */
enum { COMMAND_GET = 1, REGISTER_CPUMASK = 3, DEREGISTER_CPUMASK = 4 };

/* Sends a generic netlink request with a text as its only attribute. The kernel
   answers in any case. */
static int request(const mw_netlink *s, uint16_t family, uint8_t command,
                   uint16_t attribute, const char *text) {
    struct {
        struct nlmsghdr header;
        struct genlmsghdr generic;
        struct nlattr attribute;
        char text[MW_FILE_TEXT];
    } message;
    size_t length = strlen(text) + 1;
    memset(&message, 0, sizeof message);
    memcpy(message.text, text, length);
    message.attribute.nla_type = attribute;
    message.attribute.nla_len = (uint16_t)(sizeof message.attribute + length);
    message.generic.cmd = command;
    message.generic.version = 1;
    message.header.nlmsg_len =
        (uint32_t)(sizeof message - sizeof message.text + length);
    message.header.nlmsg_type = family;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    return send(s->fd, &message, message.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

struct answer {
    int found; /* the acknowledgement is there */
    int error;
    uint16_t family;
    uint16_t wanted; /* the type of message that is counted */
    size_t count;
};

static int look_for_answer(void *context, const char *data, size_t length) {
    struct answer *answer = context;
    size_t offset = 0;
    mw_part part;
    int32_t error;
    while (mw_parse_netlink(data, length, &offset, &part))
        if (answer->wanted && part.type == answer->wanted) {
            answer->count++;
        } else if (part.type == GENL_ID_CTRL) {
            mw_parse_family(part.data, part.length, &answer->family);
        } else if (part.type == NLMSG_ERROR && part.length >= sizeof error) {
            memcpy(&error, part.data, sizeof error);
            answer->found = 1;
            answer->error = error;
        }
    return 0;
}

/* Sends a request and reads the answer, which the kernel gives before send()
   returns. Drops records that have come already, since none are promised before
   open() is done. */
static int ask(struct taskstats *t, uint16_t family, uint8_t command,
               uint16_t attribute, const char *text, struct answer *answer) {
    memset(answer, 0, sizeof *answer);
    int error = request(&t->socket, family, command, attribute, text);
    if (!error)
        error = mw_netlink_drain(&t->socket, &t->feed.lost, look_for_answer,
                                 answer);
    if (error)
        return error;
    return answer->found ? answer->error : -EPROTO;
}

static void *end_at_once(void *nothing) { return nothing; }

/* Checks that records arrive, by ending a thread: its record comes before
   pthread_join() returns. In another network namespace than the first one the
   kernel accepts the request, but sends the records to the socket that has our
   port in the first one. */
static int try_it(struct taskstats *t) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, end_at_once, NULL);
    if (error)
        return -error;
    pthread_join(thread, NULL);
    struct answer answer = {.wanted = t->family};
    error =
        mw_netlink_drain(&t->socket, &t->feed.lost, look_for_answer, &answer);
    return !error && !answer.count ? -ENXIO : error;
}

static int start(struct taskstats *t) {
    struct answer answer;
    int error = mw_netlink_open(&t->socket, NETLINK_GENERIC, ROOM, 0, NULL, 0);
    if (!error)
        error = ask(t, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME,
                    "TASKSTATS", &answer);
    if (error == -ENOENT || (!error && !answer.family))
        return -EOPNOTSUPP;
    if (error)
        return error;
    uint16_t family = answer.family;
    /* Also processors that are not there yet. */
    mw_possible_cpus(t->cpus, sizeof t->cpus);
    error = ask(t, family, COMMAND_GET, REGISTER_CPUMASK, t->cpus, &answer);
    if (error == -EINVAL && !mw_initial_namespaces())
        return -ENXIO;
    if (error)
        return error;
    t->family = family;
    return try_it(t);
}

static int take(void *context, const char *data, size_t length) {
    struct taskstats *t = context;
    size_t offset = 0;
    mw_part part;
    mw_message message;
    int error = 0;
    /* The time after the message was received: before that this thread may have
       waited for a processor, and the process would seem to have started
       earlier. */
    int64_t now = mw_now();
    while (!error && mw_parse_netlink(data, length, &offset, &part)) {
        if (part.type != t->family ||
            mw_parse_taskstats(part.data, part.length, &message))
            continue;
        message.event.time = now;
        message.event.valid &= ~t->unknown;
        error = mw_message_add(&message, t->out);
    }
    return error;
}

static int drain(mw_feed *feed, mw_event_list *out) {
    struct taskstats *t = (struct taskstats *)feed;
    t->out = out;
    return mw_netlink_drain(&t->socket, &feed->lost, take, t);
}

static void close_feed(mw_feed *feed) {
    struct taskstats *t = (struct taskstats *)feed;
    /* Otherwise the kernel goes on sending records to this port until one of
       them cannot be delivered. */
    if (t->family)
        request(&t->socket, t->family, COMMAND_GET, DEREGISTER_CPUMASK,
                t->cpus);
    mw_netlink_close(&t->socket);
    free(t);
}

int mw_taskstats_open(mw_feed **out) {
    *out = NULL;
    struct taskstats *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->socket.fd = t->feed.event_fd = t->feed.exec_fd = -1;
    t->feed.drain = drain;
    t->feed.close = close_feed;
    /* Both need CONFIG_TASK_IO_ACCOUNTING; without it a record has zeros. */
    if (access("/proc/self/io", F_OK))
        t->unknown = MW_HAS_IO;
    int error = start(t);
    if (error) {
        close_feed(&t->feed);
        return error == -EPROTONOSUPPORT ? -EOPNOTSUPP : error;
    }
    t->feed.lost = 0;
    *out = &t->feed;
    return 0;
}
