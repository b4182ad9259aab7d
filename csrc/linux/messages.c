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

/* A time in `unit` ns. What does not fit is no time. */
static int64_t nanoseconds(const char *at, uint64_t unit) {
    uint64_t value = u64(at);
    return value <= INT64_MAX / unit ? (int64_t)(value * unit) : 0;
}

static void set_name(mw_message *out, const char *name, size_t capacity) {
    out->name = name;
    out->name_length = strnlen(name, capacity);
}

/* -- Netlink, see netlink(7) ---------------------------------------------- */

/* Both headers begin with a length that includes them, and what follows is
   aligned to 4. */
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

/* Where things are in a struct cn_msg with a struct proc_event in it. */
enum {
    CN_ID = 0,
    CN_ACK = 12,
    CN_WHAT = 20,
    CN_TIME = 28,
    CN_DATA = 36,
    CN_NEEDED = 52 /* as far as anything is read; kernels send more */
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
    mw_news *news = &out->news;
    news->time = nanoseconds(payload + CN_TIME, 1);
    if (what == EVENT_FORK) {
        if (i32(data + 8) != i32(data + 12))
            return 0; /* a thread */
        news->kind = MW_NEWS_FORK;
        news->ppid = i32(data + 4);
        news->pid = i32(data + 12);
    } else if (what == EVENT_EXEC) {
        news->kind = MW_NEWS_EXEC;
        news->pid = i32(data + 4);
    } else if (what == EVENT_EXIT) {
        if (i32(data) != i32(data + 4) && !i32(data + 8))
            return 0; /* a thread, and its process may live on */
        news->kind = MW_NEWS_EXIT;
        news->tid = i32(data);
        news->pid = i32(data + 4);
        news->status = i32(data + 8);
        news->valid = MW_HAS_STATUS;
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
 * Where fields are in a struct taskstats. Its version only ever grows it at the
 * end, but for one: that of Linux 6.14, undone in 6.15, has two more fields in
 * each of the delays.
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
    TS_HIWATER_RSS = 200,
    TS_READ_BYTES = 248,
    TS_WRITE_BYTES = 256,
    TS_TGID = 368,
    TS_COMM_SIZE = 32,
    TS_SHIFT_COMM = 48, /* of that one version, from TS_RUN_TIME on */
    TS_SHIFT_TGID = 96
};

enum { VERSION_OF_TGID = 12, SHIFTED_VERSION = 15 };

/* linux/acct.h: forked, and has executed nothing */
enum { AFORK = 1 };

/* How far its fields are from where they should be, as the pid tells: 0 or
   TS_SHIFT_COMM, -1 when it is nowhere. */
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
 * ac_utime and ac_stime count clock ticks: nothing, mostly, of a process that
 * runs for a millisecond. With delay accounting (the default before Linux 5.14,
 * a sysctl since; else 0) it is known to the nanosecond how long it ran: that
 * is divided by the ticks then, as the kernel does for getrusage(2).
 */
static void set_cpu(mw_news *news, const char *at) {
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
    news->user = user;
    news->system = system;
    news->valid |= MW_HAS_CPU;
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
    mw_news *news = &out->news;
    news->kind = MW_NEWS_RECORD;
    int version = u16(stats + TS_VERSION);
    if (version >= VERSION_OF_TGID && length >= tgid_at + 4) {
        news->pid = i32(stats + tgid_at);
        news->tid = tid;
    } else if (group) {
        news->pid = group;
        news->tid = tid;
    } else {
        news->pid = tid; /* and tid 0: it may be a thread of another process */
    }
    if (!news->tid || news->tid == news->pid || version >= VERSION_OF_TGID) {
        /* Of other threads it is 0 before Linux 5.17, which is older. */
        news->status = i32(stats + TS_EXITCODE);
        news->valid |= MW_HAS_STATUS;
    }
    if (stats[TS_FLAG] & AFORK)
        news->valid |= MW_INHERITED;
    set_name(out, at + TS_COMM, TS_COMM_SIZE);
    if (left >= TS_PPID + 4)
        news->ppid = i32(at + TS_PPID);
    if (left >= TS_ETIME + 8)
        news->elapsed = nanoseconds(at + TS_ETIME, 1000);
    if (left >= TS_STIME + 8)
        set_cpu(news, at);
    /* 0 of what had no memory: a kernel thread, or a kernel that keeps no
       account of it. */
    if (left >= TS_HIWATER_RSS + 8 && u64(at + TS_HIWATER_RSS) &&
        u64(at + TS_HIWATER_RSS) <= UINT64_MAX / 1024) {
        news->peak = u64(at + TS_HIWATER_RSS) * 1024;
        news->valid |= MW_HAS_WATERMARK;
    }
    if (left >= TS_WRITE_BYTES + 8) {
        news->read_bytes = u64(at + TS_READ_BYTES);
        news->written_bytes = u64(at + TS_WRITE_BYTES);
        news->valid |= MW_HAS_IO;
    }
    return 0;
}

/* Numbers of attributes; each AGGR holds a PID or TGID and the STATS. */
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

/* The header, and the sample_id that ends every record: pid, tid, time. */
enum { PERF_HEADER = 8, PERF_TAIL = 16 };

int mw_parse_perf(const char *record, size_t length, mw_message *out) {
    memset(out, 0, sizeof *out);
    if (length < PERF_HEADER + PERF_TAIL || u16(record + 6) != length)
        return -EINVAL;
    const char *data = record + PERF_HEADER;
    size_t left = length - PERF_HEADER - PERF_TAIL;
    uint32_t type = u32(record);
    mw_news *news = &out->news;
    news->time = nanoseconds(record + length - 8, 1);
    if (type == PERF_FORK || type == PERF_EXIT) {
        if (left < 24)
            return -EINVAL;
        int32_t pid = i32(data), tid = i32(data + 8);
        if (pid != tid || pid <= 0)
            return 0; /* a thread, or a process that has no pid for us */
        news->kind = type == PERF_FORK ? MW_NEWS_FORK : MW_NEWS_EXIT;
        news->pid = pid;
        if (type == PERF_FORK)
            news->ppid = i32(data + 4);
    } else if (type == PERF_COMM) {
        if (left < 8)
            return -EINVAL;
        if (!(u16(record + 4) & PERF_MISC_COMM_EXEC) || i32(data) <= 0)
            return 0;
        news->kind = MW_NEWS_EXEC;
        news->pid = i32(data);
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

/* -- News ----------------------------------------------------------------- */

int mw_message_add(const mw_message *message, mw_news_list *list) {
    if (!message->news.kind)
        return 0;
    mw_news item = message->news;
    item.text_length = message->name_length;
    return mw_news_copy(list, &item, message->name) ? 0 : -ENOMEM;
}

/* Where times are the same, the order of the kinds is that of a life. */
static int compare(const void *a, const void *b) {
    const mw_news *left = a, *right = b;
    if (left->time != right->time)
        return left->time < right->time ? -1 : 1;
    return (left->kind > right->kind) - (left->kind < right->kind);
}

void mw_news_sort(mw_news_list *list, size_t from) {
    /* Nearly always it is in order: one processor's news, or few of them. */
    for (size_t i = from + 1; i < list->count; i++)
        if (compare(&list->items[i - 1], &list->items[i]) > 0) {
            qsort(list->items + from, list->count - from, sizeof *list->items,
                  compare);
            return;
        }
}
