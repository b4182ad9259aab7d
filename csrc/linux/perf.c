/* The event source perf: side-band records of the forks, execs and exits of one
   thread's descendants. */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "feed.h"
#include "messages.h"
#include "procfs.h"

/* Bytes of records that each processor has room for, about 900 processes. An
   ordinary user may have 512 KiB per processor (perf_event_mlock_kb). */
enum { ROOM = 128 << 10 };

/* Longest record: its size has 16 bits. */
enum { LONGEST = 1 << 16 };

/* No record that is expected here is longer: if less is free, some may have
   been lost. */
enum { USUAL = 128 };

/* How often drain() reads all rings at most. */
enum { MOST_READS = 8 };

struct ring {
    int fd;
    size_t room;
    struct perf_event_mmap_page *page; /* the data is behind it */
};

struct perf {
    mw_feed feed;
    int32_t pid;
    size_t page_size;
    size_t count;
    struct ring *rings; /* one for each processor */
    char record[LONGEST];
};

/* struct perf_event_attr, as far as it is needed: that of the system's headers
   may be older. The kernel knows the version by the size. */
struct attributes {
    uint32_t type;
    uint32_t size;
    uint64_t config;
    uint64_t sample_period;
    uint64_t sample_type;
    uint64_t read_format;
    uint64_t disabled : 1, inherit : 1, pinned : 1, exclusive : 1,
        exclude_user : 1, exclude_kernel : 1, exclude_hv : 1, exclude_idle : 1,
        mmap : 1, comm : 1, freq : 1, inherit_stat : 1, enable_on_exec : 1,
        task : 1, watermark : 1, precise_ip : 2, mmap_data : 1,
        sample_id_all : 1, exclude_host : 1, exclude_guest : 1,
        exclude_callchain_kernel : 1, exclude_callchain_user : 1, mmap2 : 1,
        comm_exec : 1, use_clockid : 1, reserved : 38;
    uint32_t wakeup_watermark;
    uint32_t bp_type;
    uint64_t config1;
    uint64_t config2;
    uint64_t branch_sample_type;
    uint64_t sample_regs_user;
    uint32_t sample_stack_user;
    int32_t clockid;
    uint64_t sample_regs_intr;
};
_Static_assert(sizeof(struct attributes) == 104, "PERF_ATTR_SIZE_VER4");

/* PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY, PERF_SAMPLE_TID and _TIME,
   PERF_FLAG_FD_CLOEXEC */
enum { SOFTWARE = 1, DUMMY = 9, SAMPLE_TID = 2, SAMPLE_TIME = 4, CLOEXEC = 8 };

/* Opens an event for the calling thread and its descendants while they run on
   processor `cpu`. Returns the descriptor or -errno. */
static int open_event(int cpu) {
    const struct attributes attributes = {
        .type = SOFTWARE,
        .size = sizeof attributes,
        .config = DUMMY,
        .sample_type = SAMPLE_TID | SAMPLE_TIME,
        .inherit = 1,
        .exclude_kernel = 1, /* perf_event_paranoid 2 demands it */
        .exclude_hv = 1,
        .comm = 1,
        .comm_exec = 1,
        .task = 1,
        .sample_id_all = 1,
        .use_clockid = 1, /* the clock of mw_now() */
        .clockid = CLOCK_BOOTTIME,
        .watermark = 1, /* wakeup_events would count samples only */
        .wakeup_watermark = 1,
    };
    int fd =
        (int)syscall(SYS_perf_event_open, &attributes, 0, cpu, -1, CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Maps the ring, as large as this user may have it. */
static int map_ring(struct perf *p, struct ring *ring) {
    for (ring->room = ROOM;; ring->room /= 2) {
        void *page = mmap(NULL, p->page_size + ring->room,
                          PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
        if (page != MAP_FAILED) {
            ring->page = page;
            return 0;
        }
        /* EPERM: over the user's limit */
        if ((errno != EPERM && errno != ENOMEM) || ring->room <= p->page_size)
            return -errno;
    }
}

static int add_ring(struct perf *p, int cpu) {
    struct ring *rings = realloc(p->rings, (p->count + 1) * sizeof *rings);
    if (!rings)
        return -ENOMEM;
    p->rings = rings;
    int fd = open_event(cpu);
    if (fd == -ENODEV)
        return 0; /* this processor is not there */
    if (fd < 0)
        return fd;
    struct ring *ring = &p->rings[p->count++];
    *ring = (struct ring){.fd = fd};
    int error = map_ring(p, ring);
    struct epoll_event when = {.events = EPOLLIN, .data.fd = fd};
    if (!error && epoll_ctl(p->feed.event_fd, EPOLL_CTL_ADD, fd, &when))
        error = -errno;
    return error;
}

static int add_rings(struct perf *p) {
    char text[MW_FILE_TEXT];
    size_t length = mw_possible_cpus(text, sizeof text);
    size_t offset = 0;
    int first, last, error = 0;
    while (!error && mw_parse_cpus(text, length, &offset, &first, &last))
        for (int cpu = first; !error && cpu <= last; cpu++)
            error = add_ring(p, cpu);
    return !error && !p->count ? -ENODEV : error;
}

/* Makes epoll forget the records that drain() will take: a ring counts as ready
   until it is asked for. */
static void forget_wakeups(struct perf *p) {
    struct epoll_event seen[16];
    int n, most = sizeof seen / sizeof *seen;
    size_t asked = 0;
    do {
        n = epoll_wait(p->feed.event_fd, seen, most, 0);
        for (int i = 0; i < n; i++)
            if (seen[i].events & EPOLLHUP) /* would stay ready for ever */
                epoll_ctl(p->feed.event_fd, EPOLL_CTL_DEL, seen[i].data.fd,
                          NULL);
        asked += (size_t)(n > 0 ? n : 0);
    } while (n == most && asked < p->count);
}

/* Copies `length` bytes of the ring, which may wrap at its end. */
static void copy(const struct perf *p, const struct ring *ring, uint64_t from,
                 char *to, size_t length) {
    const char *data = (const char *)ring->page + p->page_size;
    size_t at = (size_t)(from & (ring->room - 1));
    size_t first = length < ring->room - at ? length : ring->room - at;
    memcpy(to, data + at, first);
    memcpy(to + first, data, length - first);
}

/* Takes the records up to the time `until`. Sets `*left` if there are later
   ones. */
static int take(struct perf *p, struct ring *ring, int64_t until,
                mw_event_list *out, int *left) {
    uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = ring->page->data_tail;
    int error = 0;
    /* The kernel reports a loss in the next record that there is room for: if
       no record follows, the loss is not reported. */
    if (ring->room - (head - tail) < USUAL)
        p->feed.lost++;
    while (tail != head && !error) {
        struct perf_event_header header;
        mw_message message;
        copy(p, ring, tail, (char *)&header, sizeof header);
        if (header.size < sizeof header || header.size > head - tail) {
            error = -EPROTO;
            break;
        }
        copy(p, ring, tail, p->record, header.size);
        if (!mw_parse_perf(p->record, header.size, &message)) {
            if (message.event.time > until) {
                *left = 1;
                break;
            }
            p->feed.lost += message.lost;
            if (message.event.pid != p->pid)
                error = mw_message_add(&message, out);
        }
        tail += header.size;
    }
    __atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
    return error;
}

/*
 * Each processor has its own ring, and they are read one after the other: a
 * fork may come into one ring just after it was read, and the child's next
 * event into another one just before that is read. So events later than the
 * beginning of the reading are left for the next reading.
 */
static int drain(mw_feed *feed, mw_event_list *out) {
    struct perf *p = (struct perf *)feed;
    size_t from = out->count;
    int error = 0, left = 1;
    forget_wakeups(p);
    for (int i = 0; left && !error && i < MOST_READS; i++) {
        int64_t now = mw_now();
        left = 0;
        for (size_t j = 0; j < p->count && !error; j++)
            error = take(p, &p->rings[j], now, out, &left);
    }
    mw_event_list_sort(out, from);
    return error;
}

static void close_feed(mw_feed *feed) {
    struct perf *p = (struct perf *)feed;
    for (size_t i = 0; i < p->count; i++) {
        if (p->rings[i].page)
            munmap(p->rings[i].page, p->page_size + p->rings[i].room);
        close(p->rings[i].fd);
    }
    if (p->feed.event_fd >= 0)
        close(p->feed.event_fd);
    free(p->rings);
    free(p);
}

int mw_perf_open(mw_feed **out) {
    *out = NULL;
    struct perf *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->feed.drain = drain;
    p->feed.close = close_feed;
    p->pid = (int32_t)getpid();
    p->page_size = (size_t)sysconf(_SC_PAGESIZE);
    p->feed.event_fd = p->feed.exec_fd = epoll_create1(EPOLL_CLOEXEC);
    int error = p->feed.event_fd < 0 ? -errno : add_rings(p);
    if (error) {
        close_feed(&p->feed);
        return error;
    }
    *out = &p->feed;
    return 0;
}
