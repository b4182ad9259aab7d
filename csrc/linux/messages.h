/*
 * Parsers of the kernel's binary messages: proc connector, perf side-band,
 * taskstats, and the netlink around them. Buffer in, struct out, no system
 * call; nothing is read beyond `length`.
 */
#ifndef MW_LINUX_MESSAGES_H
#define MW_LINUX_MESSAGES_H

#include "event_list.h"

/* What one message contains. */
typedef struct mw_message {
    mw_event event;   /* without its text. kind 0: it is of no interest */
    const char *name; /* in the buffer */
    size_t name_length;
    uint64_t lost; /* perf: how many before this one were lost */
} mw_message;

/* Parse one message: 0, or -EINVAL if it is cut short or no such message. A
   payload is what follows the netlink header. Times are as the message has
   them. */
int mw_parse_connector(const char *payload, size_t length, mw_message *out);
int mw_parse_taskstats(const char *payload, size_t length, mw_message *out);
int mw_parse_perf(const char *record, size_t length, mw_message *out);

/* Parses the connector's answer to a request: 1, or 0 for another message.
   `*ack` is the request's plus 1, `*error` an errno or 0. */
int mw_parse_connector_ack(const char *payload, size_t length, uint32_t *ack,
                           int *error);

/* One message of a netlink datagram, or one attribute of a message. */
typedef struct mw_part {
    uint16_t type;
    const char *data;
    size_t length;
} mw_part;

/* Find the next part from `*offset` on: 1, or 0 at the end and where it is
   cut. */
int mw_parse_netlink(const char *data, size_t length, size_t *offset,
                     mw_part *out);
int mw_parse_attribute(const char *data, size_t length, size_t *offset,
                       mw_part *out);

/* Finds the number of a generic netlink family in its controller's answer: 1 or
   0. */
int mw_parse_family(const char *payload, size_t length, uint16_t *family);

/* Parses the next range of a list of processors, "0-3,8": 1 or 0. */
int mw_parse_cpus(const char *text, size_t length, size_t *offset, int *first,
                  int *last);

/* Appends the event of a message, if it has one. 0 or -ENOMEM. */
int mw_message_add(const mw_message *message, mw_event_list *list);

/* Sorts the events from item `from` on by time. */
void mw_event_list_sort(mw_event_list *list, size_t from);

#endif
