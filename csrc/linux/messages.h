/*
 * Parsers of the kernel's binary messages: proc connector, perf side-band,
 * taskstats, and the netlink around them. Buffer in, struct out, no system
 * call; nothing is read beyond `length`.
 */
#ifndef MW_LINUX_MESSAGES_H
#define MW_LINUX_MESSAGES_H

#include "news.h"

/* What one message tells. */
typedef struct mw_message {
    mw_news news; /* but for its text. kind 0: nothing of a process's life */
    const char *name; /* in the buffer */
    size_t name_length;
    uint64_t lost; /* perf: how many before this one were lost */
} mw_message;

/* 0, or -EINVAL for what is cut short or no such message. A payload is what
   follows the netlink header. Times are as the message has them. */
int mw_parse_connector(const char *payload, size_t length, mw_message *out);
int mw_parse_taskstats(const char *payload, size_t length, mw_message *out);
int mw_parse_perf(const char *record, size_t length, mw_message *out);

/* The connector's answer to a request: 1 and what it says, 0 for another
   message. `ack` is the request's plus 1, `*error` an errno or 0. */
int mw_parse_connector_ack(const char *payload, size_t length, uint32_t *ack,
                           int *error);

/* One message of a netlink datagram, or one attribute of a message. */
typedef struct mw_part {
    uint16_t type;
    const char *data;
    size_t length;
} mw_part;

/* The next one from `*offset` on: 1, or 0 at the end and where it is cut. */
int mw_parse_netlink(const char *data, size_t length, size_t *offset,
                     mw_part *out);
int mw_parse_attribute(const char *data, size_t length, size_t *offset,
                       mw_part *out);

/* The number of a generic netlink family, as its controller answers: 1 or 0. */
int mw_parse_family(const char *payload, size_t length, uint16_t *family);

/* The next range of a list of processors, "0-3,8": 1 or 0. */
int mw_parse_cpus(const char *text, size_t length, size_t *offset, int *first,
                  int *last);

/* Appends what it tells, if anything. 0 or -ENOMEM. */
int mw_message_add(const mw_message *message, mw_news_list *list);

/* Brings the news from item `from` on into the order of time. */
void mw_news_sort(mw_news_list *list, size_t from);

#endif
