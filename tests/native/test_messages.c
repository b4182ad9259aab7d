/*
 * The parsers of csrc/linux/messages.c on messages made by hand, or from the
 * kernel's structs: whole, and cut after each byte.
 */
#include "messages.h"

#include <errno.h>
#include <linux/acct.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/taskstats.h>
#include <stddef.h>

#include "check.h"

/* NLA_HDRLEN, as an unsigned number. */
enum { ATTRIBUTE = 4 };

typedef struct {
    char data[4096];
    size_t size;
} buffer;

static void append(buffer *to, const void *data, size_t size) {
    CHECK(to->size + size <= sizeof to->data);
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void append32(buffer *to, uint32_t value) {
    append(to, &value, sizeof value);
}

static void append64(buffer *to, uint64_t value) {
    append(to, &value, sizeof value);
}

static void pad(buffer *to, size_t alignment) {
    while (to->size % alignment)
        append(to, "", 1);
}

typedef int parser(const char *data, size_t length, mw_message *out);

/* Parses a copy with nothing behind it, so that a sanitizer sees what is read
   there. */
static int parse(parser *parse_it, const buffer *from, size_t size,
                 mw_message *out) {
    char *copy = exact(from->data, size);
    int result = parse_it(copy, size, out);
    if (out->name)
        out->name = from->data + (out->name - copy);
    exact_free(copy, size);
    return result;
}

static int name_is(const mw_message *message, const char *name) {
    return message->name_length == strlen(name) &&
           !memcmp(message->name, name, message->name_length);
}

/* -- Proc connector ------------------------------------------------------- */

static buffer connector_message(const struct proc_event *event) {
    struct cn_msg head = {
        .id = {CN_IDX_PROC, CN_VAL_PROC}, .ack = 7, .len = sizeof *event};
    buffer made = {.size = 0};
    append(&made, &head, sizeof head);
    append(&made, event, sizeof *event);
    return made;
}

static void test_connector(void) {
    mw_message m;
    struct proc_event event = {.what = PROC_EVENT_FORK, .timestamp_ns = 12345};
    event.event_data.fork.parent_pid = 11;
    event.event_data.fork.parent_tgid = 10;
    event.event_data.fork.child_pid = 20;
    event.event_data.fork.child_tgid = 20;
    buffer whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_FORK && m.event.time == 12345);
    CHECK(m.event.pid == 20 && m.event.ppid == 10 && !m.event.valid);
    for (size_t size = 0; size < whole.size; size++) {
        mw_message cut;
        int result = parse(mw_parse_connector, &whole, size, &cut);
        CHECK(result ? result == -EINVAL && !cut.event.kind
                     : cut.event.pid == 20 && cut.event.ppid == 10);
    }
    CHECK(parse(mw_parse_connector, &whole, 51, &m) == -EINVAL);

    event.event_data.fork.child_pid = 21; /* a thread of 20 */
    whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m) && !m.event.kind);

    memset(&event, 0, sizeof event);
    event.what = PROC_EVENT_EXEC;
    event.event_data.exec.process_pid = event.event_data.exec.process_tgid = 30;
    whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_EXEC && m.event.pid == 30 && !m.event.valid);

    memset(&event, 0, sizeof event);
    event.what = PROC_EVENT_EXIT;
    event.event_data.exit.process_pid = event.event_data.exit.process_tgid = 31;
    event.event_data.exit.exit_code = 3 << 8;
    event.event_data.exit.exit_signal = 17;
    whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_EXIT && m.event.pid == 31);
    CHECK(m.event.valid == MW_HAS_STATUS && m.event.status == 3 << 8);
    /* One of its threads is of interest only if it ends with another code than
       0. */
    event.event_data.exit.process_pid = 32;
    whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_EXIT && m.event.pid == 31 &&
          m.event.tid == 32);
    CHECK(m.event.status == 3 << 8);
    event.event_data.exit.exit_code = 0;
    whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m) && !m.event.kind);

    event.what = PROC_EVENT_COMM;
    whole = connector_message(&event);
    CHECK(!parse(mw_parse_connector, &whole, whole.size, &m) && !m.event.kind);
    whole.data[0] = 2; /* another connector */
    CHECK(parse(mw_parse_connector, &whole, whole.size, &m) == -EINVAL);
}

static void test_connector_ack(void) {
    struct proc_event event = {.what = PROC_EVENT_NONE};
    event.event_data.ack.err = EPERM;
    buffer whole = connector_message(&event);
    uint32_t ack = 0;
    int error = 0;
    CHECK(mw_parse_connector_ack(whole.data, whole.size, &ack, &error) == 1);
    CHECK(ack == 7 && error == EPERM);
    CHECK(!mw_parse_connector_ack(whole.data, 51, &ack, &error));
    event.what = PROC_EVENT_EXEC;
    whole = connector_message(&event);
    CHECK(!mw_parse_connector_ack(whole.data, whole.size, &ack, &error));
}

/* -- taskstats ------------------------------------------------------------ */

/* Appends one AGGR attribute: the number and, if `size` is not 0, the stats. */
static void append_aggregate(buffer *to, uint16_t aggregate, uint16_t type,
                             uint32_t number, const void *stats, size_t size) {
    struct nlattr outer = {.nla_type = aggregate},
                  inner = {.nla_type = type,
                           .nla_len = ATTRIBUTE + sizeof number},
                  last = {.nla_type = TASKSTATS_TYPE_STATS,
                          .nla_len = (uint16_t)(ATTRIBUTE + size)};
    outer.nla_len = (uint16_t)(ATTRIBUTE + inner.nla_len + last.nla_len);
    append(to, &outer, sizeof outer);
    append(to, &inner, sizeof inner);
    append32(to, number);
    append(to, &last, sizeof last);
    append(to, stats, size);
    pad(to, 4);
}

static buffer record_of(uint32_t pid, uint32_t group, const void *stats,
                        size_t size) {
    struct genlmsghdr head = {.cmd = TASKSTATS_CMD_NEW, .version = 1};
    buffer made = {.size = 0};
    append(&made, &head, sizeof head);
    append_aggregate(&made, TASKSTATS_TYPE_AGGR_PID, TASKSTATS_TYPE_PID, pid,
                     stats, size);
    if (group)
        append_aggregate(&made, TASKSTATS_TYPE_AGGR_TGID, TASKSTATS_TYPE_TGID,
                         group, stats, 8);
    return made;
}

/* The layout of versions 14 and 15 depends on the kernel that the headers are
   from. */
#if TASKSTATS_VERSION == 13 || TASKSTATS_VERSION >= 16

static struct taskstats example(void) {
    struct taskstats stats;
    memset(&stats, 0xa5, sizeof stats); /* fields that must not be read */
    stats.version = 13;
    stats.ac_exitcode = 5 << 8;
    stats.ac_flag = ASU | AXSIG;
    stats.cpu_run_virtual_total = 0;
    memset(stats.ac_comm, 0, sizeof stats.ac_comm);
    strcpy(stats.ac_comm, "a name of 15 by");
    stats.ac_pid = 100;
    stats.ac_ppid = 50;
    stats.ac_tgid = 100;
    stats.ac_etime = 4000;
    stats.ac_utime = 300;
    stats.ac_stime = 200;
    stats.hiwater_rss = 66000;
    stats.read_bytes = 4096;
    stats.write_bytes = 8192;
    return stats;
}

static void check_example(const mw_message *m) {
    CHECK(m->event.kind == MW_EVENT_RECORD && m->event.time == 0);
    CHECK(m->event.ppid == 50 && m->event.elapsed == 4000000);
    CHECK(m->event.valid & MW_HAS_CPU);
    CHECK(m->event.user == 300000 && m->event.system == 200000);
    CHECK(m->event.valid & MW_HAS_WATERMARK && m->event.peak == 66000 * 1024);
    CHECK(m->event.valid & MW_HAS_IO);
    CHECK(m->event.read_bytes == 4096 && m->event.written_bytes == 8192);
    CHECK(name_is(m, "a name of 15 by"));
}

static void test_record(void) {
    mw_message m;
    struct taskstats stats = example();
    buffer whole = record_of(100, 0, &stats, sizeof stats);
    CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
    check_example(&m);
    CHECK(m.event.pid == 100 && m.event.tid == 100);
    CHECK(m.event.valid & MW_HAS_STATUS && m.event.status == 5 << 8);
    for (size_t size = 0; size < whole.size; size++)
        CHECK(parse(mw_parse_taskstats, &whole, size, &m) == -EINVAL);

    CHECK(!(m.event.valid & MW_INHERITED));
    stats.ac_flag = AFORK;
    whole = record_of(100, 0, &stats, sizeof stats);
    CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
    CHECK(m.event.valid & MW_INHERITED);

    stats = example();
    stats.ac_tgid = 99; /* a thread of it */
    whole = record_of(100, 99, &stats, sizeof stats);
    CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
    check_example(&m);
    CHECK(m.event.pid == 99 && m.event.tid == 100);
    CHECK(m.event.valid & MW_HAS_STATUS && m.event.status == 5 << 8);

    stats = example();
    stats.hiwater_rss = 0; /* a kernel thread */
    memset(stats.ac_comm, 'x', sizeof stats.ac_comm);
    whole = record_of(100, 0, &stats, sizeof stats);
    CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
    CHECK(!(m.event.valid & MW_HAS_WATERMARK) && !m.event.peak);
    CHECK(m.event.valid & MW_HAS_IO && m.name_length == sizeof stats.ac_comm);

    stats = example();
    stats.ac_pid = 101; /* not what the message says */
    whole = record_of(100, 0, &stats, sizeof stats);
    CHECK(parse(mw_parse_taskstats, &whole, whole.size, &m) == -EINVAL);
}

static void test_record_cpu_time(void) {
    static const uint64_t cases[][5] = {
        /* run (ns), user and system (us): user and system (ns) */
        {1500, 0, 0, 1500, 0},
        {9000000, 4000, 0, 9000000, 0},
        {9000000, 0, 4000, 0, 9000000},
        {9000000, 4000, 8000, 3000000, 6000000},
        {0, 4000, 8000, 4000000, 8000000},
        {0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct taskstats stats = example();
        stats.cpu_run_virtual_total = cases[i][0];
        stats.ac_utime = cases[i][1];
        stats.ac_stime = cases[i][2];
        buffer whole = record_of(100, 0, &stats, sizeof stats);
        mw_message m;
        CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
        CHECK((uint64_t)m.event.user == cases[i][3]);
        CHECK((uint64_t)m.event.system == cases[i][4]);
    }
}

/* The struct of older kernels ends sooner. */
static void test_older_record(void) {
    mw_message m;
    struct taskstats stats = example();
    stats.version = 11;
    buffer whole =
        record_of(100, 0, &stats, offsetof(struct taskstats, ac_tgid));
    CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
    check_example(&m);
    CHECK(m.event.pid == 100 && m.event.tid == 0);
    CHECK(m.event.valid & MW_HAS_STATUS && m.event.status == 5 << 8);
    /* The last of several threads names its process. */
    whole = record_of(100, 98, &stats, offsetof(struct taskstats, ac_tgid));
    CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
    CHECK(m.event.pid == 98 && m.event.tid == 100);
    CHECK(!(m.event.valid & MW_HAS_STATUS));

    for (size_t size = 0; size < sizeof stats; size += 4) {
        whole = record_of(100, 0, &stats, size);
        int result = parse(mw_parse_taskstats, &whole, whole.size, &m);
        CHECK(result ==
              (size < offsetof(struct taskstats, ac_pid) + 4 ? -EINVAL : 0));
        if (result)
            continue;
        uint32_t valid = MW_HAS_STATUS;
        if (size >= offsetof(struct taskstats, ac_stime) + 8)
            valid |= MW_HAS_CPU;
        if (size >= offsetof(struct taskstats, ac_majflt) + 8)
            valid |= MW_HAS_FAULTS;
        if (size >= offsetof(struct taskstats, hiwater_rss) + 8)
            valid |= MW_HAS_WATERMARK;
        if (size >= offsetof(struct taskstats, write_bytes) + 8)
            valid |= MW_HAS_IO;
        CHECK(m.event.valid == valid);
    }
}

/* Linux 6.14 has two more numbers before each of these. */
static void test_shifted_record(void) {
    static const size_t before[] = {
        offsetof(struct taskstats, blkio_count),
        offsetof(struct taskstats, swapin_count),
        offsetof(struct taskstats, cpu_run_real_total),
        offsetof(struct taskstats, thrashing_count),
        offsetof(struct taskstats, ac_btime64),
        offsetof(struct taskstats, ac_tgid),
    };
    for (uint16_t version = 14; version <= 15; version++) {
        struct taskstats stats = example();
        stats.version = version;
        stats.ac_tgid = 99;
        buffer shifted = {.size = 0};
        size_t from = 0;
        for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
            append(&shifted, (char *)&stats + from, before[i] - from);
            append64(&shifted, 0);
            append64(&shifted, 0);
            from = before[i];
        }
        append(&shifted, (char *)&stats + from, sizeof stats - from);
        buffer whole = record_of(100, 0, shifted.data, shifted.size);
        mw_message m;
        CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
        check_example(&m);
        CHECK(m.event.pid == 99 && m.event.tid == 100);
        whole = record_of(100, 0, &stats, sizeof stats); /* as it should be */
        CHECK(!parse(mw_parse_taskstats, &whole, whole.size, &m));
        check_example(&m);
        CHECK(m.event.pid == 99 && m.event.tid == 100);
    }
}

#else
static void test_record(void) {}
static void test_record_cpu_time(void) {}
static void test_older_record(void) {}
static void test_shifted_record(void) {}
#endif

/* -- perf ----------------------------------------------------------------- */

/* Makes a record with `size` bytes of data and its sample_id. */
static buffer perf_record(uint32_t type, uint16_t misc, const void *data,
                          size_t size) {
    struct perf_event_header head = {.type = type, .misc = misc};
    buffer made = {.size = 0};
    append(&made, &head, sizeof head);
    append(&made, data, size);
    pad(&made, 8);
    append32(&made, 1);
    append32(&made, 2);
    append64(&made, 777);
    head.size = (uint16_t)made.size;
    memcpy(made.data, &head, sizeof head);
    return made;
}

static buffer perf_task(uint32_t type, uint32_t pid, uint32_t ppid,
                        uint32_t tid, uint32_t ptid) {
    buffer data = {.size = 0};
    append32(&data, pid);
    append32(&data, ppid);
    append32(&data, tid);
    append32(&data, ptid);
    append64(&data, 776);
    return perf_record(type, 0, data.data, data.size);
}

static void test_perf(void) {
    mw_message m;
    buffer whole = perf_task(PERF_RECORD_FORK, 20, 10, 20, 11);
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_FORK && m.event.time == 777);
    CHECK(m.event.pid == 20 && m.event.ppid == 10 && !m.event.valid && !m.lost);
    for (size_t size = 0; size < whole.size; size++)
        CHECK(parse(mw_parse_perf, &whole, size, &m) == -EINVAL);
    whole = perf_task(PERF_RECORD_FORK, 20, 20, 21, 20); /* a thread */
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m) && !m.event.kind);
    whole = perf_task(PERF_RECORD_EXIT, 20, 10, 20, 10);
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_EXIT && m.event.pid == 20 && !m.event.valid);
    whole = perf_task(PERF_RECORD_EXIT, 20, 10, 21, 10);
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m) && !m.event.kind);
    whole = perf_task(PERF_RECORD_EXIT, 0, 0, 0, 0); /* without a pid here */
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m) && !m.event.kind);
    whole = perf_record(PERF_RECORD_FORK, 0, "short", 5);
    CHECK(parse(mw_parse_perf, &whole, whole.size, &m) == -EINVAL);

    buffer data = {.size = 0};
    append32(&data, 20);
    append32(&data, 20);
    append(&data, "cc1", 4);
    whole = perf_record(PERF_RECORD_COMM, PERF_RECORD_MISC_COMM_EXEC, data.data,
                        data.size);
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m));
    CHECK(m.event.kind == MW_EVENT_EXEC && m.event.pid == 20 &&
          name_is(&m, "cc1"));
    whole = perf_record(PERF_RECORD_COMM, 0, data.data, data.size);
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m) && !m.event.kind);
    whole = perf_record(PERF_RECORD_COMM, PERF_RECORD_MISC_COMM_EXEC, "", 0);
    CHECK(parse(mw_parse_perf, &whole, whole.size, &m) == -EINVAL);

    data.size = 0;
    append64(&data, 5);
    append64(&data, 42);
    whole = perf_record(PERF_RECORD_LOST, 0, data.data, data.size);
    CHECK(!parse(mw_parse_perf, &whole, whole.size, &m));
    CHECK(!m.event.kind && m.lost == 42);
    whole = perf_record(PERF_RECORD_LOST, 0, data.data, 8);
    CHECK(parse(mw_parse_perf, &whole, whole.size, &m) == -EINVAL);
}

/* -- The rest ------------------------------------------------------------- */

static void append_netlink(buffer *to, uint16_t type, const char *text) {
    struct nlmsghdr head = {.nlmsg_type = type,
                            .nlmsg_len = (uint32_t)NLMSG_LENGTH(strlen(text))};
    append(to, &head, sizeof head);
    append(to, text, strlen(text));
    pad(to, NLMSG_ALIGNTO);
}

static void test_netlink(void) {
    buffer datagram = {.size = 0};
    append_netlink(&datagram, 3, "hello");
    size_t second = datagram.size;
    append_netlink(&datagram, 4, "you!");
    size_t offset = 0;
    mw_part part;
    CHECK(mw_parse_netlink(datagram.data, datagram.size, &offset, &part));
    CHECK(part.type == 3 && part.length == 5 && !memcmp(part.data, "hello", 5));
    CHECK(offset == second);
    CHECK(mw_parse_netlink(datagram.data, datagram.size, &offset, &part));
    CHECK(part.type == 4 && part.length == 4 && !memcmp(part.data, "you!", 4));
    CHECK(offset == datagram.size);
    CHECK(!mw_parse_netlink(datagram.data, datagram.size, &offset, &part));
    for (size_t size = 0; size < second; size++) {
        char *cut = exact(datagram.data, size);
        offset = 0;
        /* The padding need not be there. */
        CHECK(mw_parse_netlink(cut, size, &offset, &part) ==
              (size >= NLMSG_HDRLEN + 5));
        CHECK(offset <= size);
        exact_free(cut, size);
    }
    memset(datagram.data, 0, 4); /* a length of 0 leads nowhere */
    offset = 0;
    CHECK(!mw_parse_netlink(datagram.data, datagram.size, &offset, &part));
    CHECK(offset == 0);
}

static void test_family(void) {
    struct genlmsghdr head = {.cmd = CTRL_CMD_NEWFAMILY, .version = 1};
    struct nlattr name = {.nla_type = CTRL_ATTR_FAMILY_NAME,
                          .nla_len = ATTRIBUTE + 3},
                  number = {.nla_type = CTRL_ATTR_FAMILY_ID,
                            .nla_len = ATTRIBUTE + 2};
    uint16_t id = 0x1234, found = 0;
    buffer whole = {.size = 0};
    append(&whole, &head, sizeof head);
    append(&whole, &name, sizeof name);
    append(&whole, "ab", 3);
    pad(&whole, 4);
    append(&whole, &number, sizeof number);
    append(&whole, &id, sizeof id);
    CHECK(mw_parse_family(whole.data, whole.size, &found) && found == id);
    for (size_t size = 0; size < whole.size; size++) {
        char *cut = exact(whole.data, size);
        CHECK(!mw_parse_family(cut, size, &found));
        exact_free(cut, size);
    }
}

static void test_cpus(void) {
    static const struct {
        const char *text;
        int count; /* of ranges */
        int sum;   /* of all processors in them */
    } cases[] = {
        {"", 0, 0},           {"0", 1, 0},          {"0-3\n", 1, 6},
        {"0-1,4,6-7", 3, 18}, {"3-1", 0, 0},        {"2-", 0, 0},
        {"1,x", 1, 1},        {"2147483648", 0, 0}, {"1,99999999999", 1, 1},
        {"-1", 0, 0},         {"1,,2", 1, 1},       {"1-2-3", 1, 3},
        {",1", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t offset = 0;
        int count = 0, sum = 0, first, last;
        size_t length = strlen(cases[i].text);
        char *text = exact(cases[i].text, length);
        while (mw_parse_cpus(text, length, &offset, &first, &last)) {
            CHECK(first <= last);
            count++;
            for (int cpu = first; cpu <= last; cpu++)
                sum += cpu;
        }
        CHECK(count == cases[i].count && sum == cases[i].sum);
        exact_free(text, length);
    }
}

static void test_list(void) {
    mw_event_list list = {0};
    mw_message nothing = {.event.kind = 0};
    CHECK(!mw_message_add(&nothing, &list) && !list.count);
    static const struct {
        int64_t time;
        uint32_t kind;
    } order[] = {{9, 1}, {5, 3}, {5, 1}, {4, 2}, {5, 2}, {1, 1}};
    for (size_t i = 0; i < 6; i++) {
        mw_message m = {.event = {.time = order[i].time, .kind = order[i].kind},
                        .name = &"abcdef"[i],
                        .name_length = 1};
        CHECK(!mw_message_add(&m, &list));
    }
    mw_event_list_sort(&list, 1); /* the first one is not sorted */
    static const char expected[] = "afdceb";
    CHECK(list.count == 6);
    for (size_t i = 0; i < 6; i++) {
        CHECK(list.items[i].text_length == 1);
        CHECK(list.text[list.items[i].text] == expected[i]);
    }
    mw_event_list_sort(&list, 6);
    mw_event_list_free(&list);
}

int main(void) {
    test_connector();
    test_connector_ack();
    test_record();
    test_record_cpu_time();
    test_older_record();
    test_shifted_record();
    test_perf();
    test_netlink();
    test_family();
    test_cpus();
    test_list();
    return 0;
}
