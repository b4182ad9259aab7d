/* Parsers of the kernel's binary messages. */
#include "messages.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Messages are in the machine's byte order, but not always aligned. */

static uint16_t u16(const char *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t u32(const char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static int32_t i32(const char *at) {
    int32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64(const char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Reads a time in units of `unit` ns; 0 if it does not fit. */
static int64_t nanoseconds(const char *at, uint64_t unit) {
    uint64_t value = u64(at);
    return value <= INT64_MAX / unit ? (int64_t)(value * unit) : 0;
}

static void set_name(mw_message *out, const char *name, size_t capacity) {
    out->name = name;
    out->name_length = strnlen(name, capacity);
}

/* -- Netlink, see netlink(7) ---------------------------------------------- */

/* Finds the next message or attribute. Both have a header with a length that
   includes it, and the next one is aligned to 4. */
static int next_part(const char *data, size_t length, size_t *offset,
                     size_t header, size_t own, size_t type_at, mw_part *out) {
    if (*offset > length || length - *offset < header || own < header ||
        own > length - *offset)
        return 0;
    const char *at = data + *offset;
    out->type = u16(at + type_at);
    out->data = at + header;
    out->length = own - header;
    size_t aligned = (own + 3) & ~(size_t)3;
    *offset += aligned < length - *offset ? aligned : length - *offset;
    return 1;
}

enum { NETLINK_HEADER = 16, ATTRIBUTE_HEADER = 4, GENERIC_HEADER = 4 };

int mw_parse_netlink(const char *data, size_t length, size_t *offset,
                     mw_part *out) {
    if (*offset > length || length - *offset < NETLINK_HEADER)
        return 0;
    return next_part(data, length, offset, NETLINK_HEADER, u32(data + *offset),
                     4, out);
}

int mw_parse_attribute(const char *data, size_t length, size_t *offset,
                       mw_part *out) {
    if (*offset > length || length - *offset < ATTRIBUTE_HEADER)
        return 0;
    int found = next_part(data, length, offset, ATTRIBUTE_HEADER,
                          u16(data + *offset), 2, out);
    if (found)
        out->type &= 0x3fff; /* NLA_TYPE_MASK: without its two flags */
    return found;
}

int mw_parse_family(const char *payload, size_t length, uint16_t *family) {
    enum { CTRL_ATTR_FAMILY_ID = 1 };
    size_t offset = GENERIC_HEADER;
    mw_part part;
    while (mw_parse_attribute(payload, length, &offset, &part))
        if (part.type == CTRL_ATTR_FAMILY_ID && part.length >= 2) {
            *family = u16(part.data);
            return 1;
        }
    return 0;
}

/* -- Proc connector, see linux/cn_proc.h ---------------------------------- */

/* Offsets in a struct cn_msg that holds a struct proc_event. */
enum {
    CN_ID = 0,
    CN_ACK = 12,
    CN_WHAT = 20,
    CN_TIME = 28,
    CN_DATA = 36,
    CN_NEEDED = 52 /* nothing is read beyond; kernels send more */
};

enum {
    CN_PROC_GROUP = 1, /* CN_IDX_PROC and CN_VAL_PROC */
    EVENT_NONE = 0,
    EVENT_FORK = 1,
    EVENT_EXEC = 2
};
static const uint32_t EVENT_EXIT = 0x80000000;

static int is_proc_event(const char *payload, size_t length) {
    return length >= CN_NEEDED && u32(payload + CN_ID) == CN_PROC_GROUP &&
           u32(payload + CN_ID + 4) == CN_PROC_GROUP;
}

int mw_parse_connector(const char *payload, size_t length, mw_message *out) {
    memset(out, 0, sizeof *out);
    if (!is_proc_event(payload, length))
        return -EINVAL;
    const char *data = payload + CN_DATA;
    uint32_t what = u32(payload + CN_WHAT);
    mw_event *event = &out->event;
    event->time = nanoseconds(payload + CN_TIME, 1);
    if (what == EVENT_FORK) {
        if (i32(data + 8) != i32(data + 12))
            return 0; /* a thread */
        event->kind = MW_EVENT_FORK;
        event->ppid = i32(data + 4);
        event->pid = i32(data + 12);
    } else if (what == EVENT_EXEC) {
        event->kind = MW_EVENT_EXEC;
        event->pid = i32(data + 4);
    } else if (what == EVENT_EXIT) {
        if (i32(data) != i32(data + 4) && !i32(data + 8))
            return 0; /* a thread whose process may live on */
        event->kind = MW_EVENT_EXIT;
        event->tid = i32(data);
        event->pid = i32(data + 4);
        event->status = i32(data + 8);
        event->valid = MW_HAS_STATUS;
    }
    return 0;
}

int mw_parse_connector_ack(const char *payload, size_t length, uint32_t *ack,
                           int *error) {
    if (!is_proc_event(payload, length) || u32(payload + CN_WHAT) != EVENT_NONE)
        return 0;
    *ack = u32(payload + CN_ACK);
    *error = i32(payload + CN_DATA);
    return 1;
}

/* -- taskstats, see linux/taskstats.h ------------------------------------- */

/*
 * Offsets in a struct taskstats. New versions add fields at the end only,
 * except that of Linux 6.14, undone in 6.15, which has two more fields in each
 * of the delays.
 */
enum {
    TS_VERSION = 0,
    TS_EXITCODE = 4,
    TS_FLAG = 8,
    TS_RUN_TIME = 72, /* cpu_run_virtual_total */
    TS_COMM = 80,
    TS_PID = 128,
    TS_PPID = 132,
    TS_ETIME = 144,
    TS_UTIME = 152,
    TS_STIME = 160,
    TS_MINFLT = 168,
    TS_MAJFLT = 176,
    TS_HIWATER_RSS = 200,
    TS_READ_BYTES = 248,
    TS_WRITE_BYTES = 256,
    TS_TGID = 368,
    TS_COMM_SIZE = 32,
    TS_SHIFT_COMM = 48, /* in that one version, from TS_RUN_TIME on */
    TS_SHIFT_TGID = 96
};

enum { VERSION_OF_TGID = 12, SHIFTED_VERSION = 15 };

/* linux/acct.h: the process was forked and has executed nothing. */
enum { AFORK = 1 };

/* Returns by how much the fields are shifted, which is seen by the pid: 0 or
   TS_SHIFT_COMM, or -1 if the pid is at neither place. */
static int shift_of(const char *stats, size_t length, int32_t pid) {
    int first = u16(stats + TS_VERSION) == SHIFTED_VERSION ? TS_SHIFT_COMM : 0;
    for (int i = 0; i < 2; i++) {
        int shift = i ? TS_SHIFT_COMM - first : first;
        size_t at = (size_t)(TS_PID + shift);
        if (length >= at + 4 && i32(stats + at) == pid)
            return shift;
    }
    return -1;
}

/*
 * Sets the CPU time. ac_utime and ac_stime count clock ticks, mostly 0 for a
 * process that runs for a millisecond. With delay accounting (the default
 * before Linux 5.14, a sysctl since; without it the field is 0) the run time is
 * known to the nanosecond, and is split in the proportion of the ticks, as the
 * kernel does for getrusage(2).
 */
static void set_cpu(mw_event *event, const char *at) {
    int64_t run = nanoseconds(at + TS_RUN_TIME, 1);
    int64_t user = nanoseconds(at + TS_UTIME, 1000);
    int64_t system = nanoseconds(at + TS_STIME, 1000);
    if (run && !system) {
        user = run;
    } else if (run && !user) {
        system = run;
    } else if (run) {
        double part = (double)system / ((double)user + (double)system);
        system = (int64_t)((double)run * part);
        user = run - system;
    }
    event->user = user;
    event->system = system;
    event->valid |= MW_HAS_CPU;
}

static int parse_stats(const mw_part *part, int32_t tid, int32_t group,
                       mw_message *out) {
    const char *stats = part->data;
    size_t length = part->length;
    if (length < TS_PID + 4)
        return -EINVAL;
    int shift = shift_of(stats, length, tid);
    if (shift < 0)
        return -EINVAL;
    const char *at = stats + shift;
    size_t left = length - (size_t)shift;
    size_t tgid_at = shift ? TS_TGID + TS_SHIFT_TGID : TS_TGID;
    mw_event *event = &out->event;
    event->kind = MW_EVENT_RECORD;
    int version = u16(stats + TS_VERSION);
    if (version >= VERSION_OF_TGID && length >= tgid_at + 4) {
        event->pid = i32(stats + tgid_at);
        event->tid = tid;
    } else if (group) {
        event->pid = group;
        event->tid = tid;
    } else {
        event->pid =
            tid; /* with tid 0: it may be a thread of another process */
    }
    if (!event->tid || event->tid == event->pid || version >= VERSION_OF_TGID) {
        /* Before Linux 5.17, which is older than that version, the code of
           other threads is 0. */
        event->status = i32(stats + TS_EXITCODE);
        event->valid |= MW_HAS_STATUS;
    }
    if (stats[TS_FLAG] & AFORK)
        event->valid |= MW_INHERITED;
    set_name(out, at + TS_COMM, TS_COMM_SIZE);
    if (left >= TS_PPID + 4)
        event->ppid = i32(at + TS_PPID);
    if (left >= TS_ETIME + 8)
        event->elapsed = nanoseconds(at + TS_ETIME, 1000);
    if (left >= TS_STIME + 8)
        set_cpu(event, at);
    if (left >= TS_MAJFLT + 8) {
        event->faults = u64(at + TS_MINFLT) + u64(at + TS_MAJFLT);
        event->valid |= MW_HAS_FAULTS;
    }
    /* 0: a kernel thread, which has no memory; a kernel that does not count it;
       or, since Linux 6.2, a process so small that its pages are all in the
       kernel's per-CPU batches (2 of 75,000 forks of a static program). */
    if (left >= TS_HIWATER_RSS + 8 && u64(at + TS_HIWATER_RSS) &&
        u64(at + TS_HIWATER_RSS) <= UINT64_MAX / 1024) {
        event->peak = u64(at + TS_HIWATER_RSS) * 1024;
        event->valid |= MW_HAS_WATERMARK;
    }
    if (left >= TS_WRITE_BYTES + 8) {
        event->read_bytes = u64(at + TS_READ_BYTES);
        event->written_bytes = u64(at + TS_WRITE_BYTES);
        event->valid |= MW_HAS_IO;
    }
    return 0;
}

/* Types of attributes; each AGGR holds a PID or TGID and the STATS. */
enum {
    TS_TYPE_PID = 1,
    TS_TYPE_TGID,
    TS_TYPE_STATS,
    TS_AGGR_PID,
    TS_AGGR_TGID
};

static int32_t number_in(const mw_part *aggregate, uint16_t type,
                         mw_part *stats) {
    int32_t number = 0;
    size_t offset = 0;
    mw_part part;
    while (
        mw_parse_attribute(aggregate->data, aggregate->length, &offset, &part))
        if (part.type == type && part.length >= 4)
            number = i32(part.data);
        else if (part.type == TS_TYPE_STATS)
            *stats = part;
    return number;
}

int mw_parse_taskstats(const char *payload, size_t length, mw_message *out) {
    memset(out, 0, sizeof *out);
    mw_part part, stats = {0}, ignored = {0};
    int32_t tid = 0, group = 0;
    size_t offset = GENERIC_HEADER;
    while (mw_parse_attribute(payload, length, &offset, &part))
        if (part.type == TS_AGGR_PID)
            tid = number_in(&part, TS_TYPE_PID, &stats);
        else if (part.type == TS_AGGR_TGID)
            group = number_in(&part, TS_TYPE_TGID, &ignored);
    return tid > 0 && stats.data ? parse_stats(&stats, tid, group, out)
                                 : -EINVAL;
}

/* -- perf side-band, see perf_event_open(2) ------------------------------- */

enum { PERF_LOST = 2, PERF_COMM = 3, PERF_EXIT = 4, PERF_FORK = 7 };
enum { PERF_MISC_COMM_EXEC = 1 << 13 };

/* Sizes of the header, and of the sample_id that ends every record: pid, tid,
   time. */
enum { PERF_HEADER = 8, PERF_TAIL = 16 };

int mw_parse_perf(const char *record, size_t length, mw_message *out) {
    memset(out, 0, sizeof *out);
    if (length < PERF_HEADER + PERF_TAIL || u16(record + 6) != length)
        return -EINVAL;
    const char *data = record + PERF_HEADER;
    size_t left = length - PERF_HEADER - PERF_TAIL;
    uint32_t type = u32(record);
    mw_event *event = &out->event;
    event->time = nanoseconds(record + length - 8, 1);
    if (type == PERF_FORK || type == PERF_EXIT) {
        if (left < 24)
            return -EINVAL;
        int32_t pid = i32(data), tid = i32(data + 8);
        if (pid != tid || pid <= 0)
            return 0; /* a thread, or a process without a pid in our namespace
                       */
        event->kind = type == PERF_FORK ? MW_EVENT_FORK : MW_EVENT_EXIT;
        event->pid = pid;
        if (type == PERF_FORK)
            event->ppid = i32(data + 4);
    } else if (type == PERF_COMM) {
        if (left < 8)
            return -EINVAL;
        if (!(u16(record + 4) & PERF_MISC_COMM_EXEC) || i32(data) <= 0)
            return 0;
        event->kind = MW_EVENT_EXEC;
        event->pid = i32(data);
        set_name(out, data + 8, left - 8);
    } else if (type == PERF_LOST) {
        if (left < 16)
            return -EINVAL;
        out->lost = u64(data + 8);
    }
    return 0;
}

/* -- Lists of processors, see cpuset(7) ----------------------------------- */

static int number(const char *text, size_t length, size_t *offset, int *out) {
    size_t at = *offset;
    int value = 0;
    while (at < length && text[at] >= '0' && text[at] <= '9') {
        int digit = text[at] - '0';
        if (value > (INT_MAX - digit) / 10)
            return 0;
        value = value * 10 + digit;
        at++;
    }
    if (at == *offset)
        return 0;
    *offset = at;
    *out = value;
    return 1;
}

int mw_parse_cpus(const char *text, size_t length, size_t *offset, int *first,
                  int *last) {
    size_t at = *offset;
    if (at && at < length && text[at] == ',')
        at++;
    if (!number(text, length, &at, first))
        return 0;
    *last = *first;
    if (at < length && text[at] == '-' &&
        (at++, !number(text, length, &at, last) || *last < *first))
        return 0;
    *offset = at;
    return 1;
}

/* -- Events --------------------------------------------------------------- */

int mw_message_add(const mw_message *message, mw_event_list *list) {
    if (!message->event.kind)
        return 0;
    mw_event item = message->event;
    item.text_length = message->name_length;
    return mw_event_copy(list, &item, message->name) ? 0 : -ENOMEM;
}

/* Compares by time, and at the same time by kind, whose order is that of a
   process's life. */
static int compare(const void *a, const void *b) {
    const mw_event *left = a, *right = b;
    if (left->time != right->time)
        return left->time < right->time ? -1 : 1;
    return (left->kind > right->kind) - (left->kind < right->kind);
}

void mw_event_list_sort(mw_event_list *list, size_t from) {
    /* Nearly always they are in order: few events, or those of one
       processor. */
    for (size_t i = from + 1; i < list->count; i++)
        if (compare(&list->items[i - 1], &list->items[i]) > 0) {
            qsort(list->items + from, list->count - from, sizeof *list->items,
                  compare);
            return;
        }
}
