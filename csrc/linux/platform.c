/* The job as a whole: its end, its orphans, its events, and the scan where the
   kernel has no lists of children. */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "huge_pages.h"
#include "pidfd.h"
#include "procfs.h"
#include "scan.h"
#include "short_slices.h"
#include "state.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* the same number on every architecture */
#endif
/* Without a pidfd (Linux < 5.3) the root's end is checked this often. */
static const int64_t ROOT_CHECK = 10000000;

static const int64_t SECOND = 1000000000;

static int scan_machine(mw_platform *p, size_t *count) {
    return mw_scan_all(p->proc_fd, &p->scan, &p->scan_capacity, count);
}

/* Does what note_other_children() does without lists of children. */
static int note_scanned_children(mw_platform *p) {
    size_t count;
    int error = scan_machine(p, &count);
    for (size_t i = 0; !error && i < count; i++)
        if (p->scan[i].ppid == p->adopter_pid)
            error = mw_pids_add(&p->other_children, p->scan[i].pid);
    return error;
}

/* Remembers the adopter's children that were there before the job, those of all
   its threads: when one ends, its children go to another. */
static int note_other_children(mw_platform *p) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/task/%d/children", p->adopter_pid,
             p->adopter_pid);
    p->adopter_children_fd = openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (p->adopter_children_fd < 0)
        return note_scanned_children(p);
    return mw_procfs_children_of_all(p->proc_fd, p->adopter_pid,
                                     &p->other_children);
}

/* Returns whether huge pages of any size are reserved: Hugetlb of `meminfo`,
   Linux 4.18 and later. */
static int has_huge_pages(const mw_platform *p) {
    char text[MW_FILE_TEXT];
    uint64_t bytes;
    ssize_t n = mw_procfs_read(p->proc_fd, "meminfo", text, sizeof text);
    return n > 0 && mw_parse_huge_pages(text, (size_t)n, &bytes) && bytes;
}

static const char HUGE_PAGES[] = "/sys/kernel/mm/transparent_hugepage";

/* Makes mw_platform_wait() return `waited` while `fd` is readable. */
static int watch(mw_platform *p, int fd, uint32_t waited) {
    struct epoll_event when = {.events = EPOLLIN, .data.u32 = waited};
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &when) ? -errno : 0;
}

int mw_platform_open(const mw_sampler_options *options, mw_platform **out) {
    *out = NULL;
    mw_platform *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->stop_fd = p->epoll_fd = p->root_pidfd = p->adopter_children_fd = -1;
    p->adopter_pid = options->adopter_pid;
    p->has_other_children = options->has_other_children;
    p->descriptors_left = options->max_descriptors;
    p->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    p->tick_ns = (uint64_t)(SECOND / sysconf(_SC_CLK_TCK));
    /* Since Linux 6.2 each CPU may hold back up to percpu_counter_batch pages
       of each count. Two counts matter: anonymous pages and those of files. */
    uint64_t cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t batch = 2 * cpus > 32 ? 2 * cpus : 32;
    p->roughness = 2 * cpus * batch * p->page_size;
    p->real = !strcmp(options->proc_root, "/proc");
    int error = 0;
    p->proc_fd = open(options->proc_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->proc_fd < 0)
        error = -errno;
    if (!error) {
        p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (p->stop_fd < 0 || p->epoll_fd < 0)
            error = -errno;
    }
    if (!error)
        error = watch(p, p->stop_fd, MW_WAITED_STOP);
    if (!error && p->adopter_pid)
        error = note_other_children(p);
    if (!error) {
        p->has_huge_pages = has_huge_pages(p);
        p->huge_page_size = p->real ? mw_huge_page_size(HUGE_PAGES) : 0;
    }
    if (!error)
        error = mw_available_open(&p->available, p->proc_fd, options);
    mw_mounts_open(&p->mounts, options);
    if (!error && p->real)
        mw_feeds_open(&p->feeds, options, p->epoll_fd, MW_WAITED_EVENTS,
                      &p->stats);
    if (error) {
        mw_platform_close(p);
        return error;
    }
    *out = p;
    return 0;
}

void mw_platform_close(mw_platform *p) {
    mw_feeds_close(&p->feeds);
    mw_available_close(&p->available);
    int fds[] = {p->proc_fd, p->stop_fd, p->epoll_fd, p->root_pidfd,
                 p->adopter_children_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(p->other_children.pid);
    free(p->scan);
    free(p);
}

int mw_platform_enter_thread(mw_platform *p, int32_t root_pid) {
    p->root_pid = root_pid;
    prctl(PR_SET_NAME, "memwatch-tick");
    /* The default slack of 50 us is 5 % of a millisecond. This thread only. */
    prctl(PR_SET_TIMERSLACK, 1ul);
    mw_take_short_slices();
    p->root_pidfd = mw_pidfd_open(root_pid);
    return p->root_pidfd < 0 ? 0 : watch(p, p->root_pidfd, MW_WAITED_ROOT_EXIT);
}

static int root_has_ended(const mw_platform *p) {
    siginfo_t info = {0};
    if (!waitid(P_PID, (id_t)p->root_pid, &info, WEXITED | WNOHANG | WNOWAIT))
        return info.si_pid == p->root_pid;
    return kill(p->root_pid, 0) && errno == ESRCH;
}

/* Sleeps for `timeout` ns at most. Returns an or of mw_waited, 0 for none. */
static int sleep_for(mw_platform *p, int64_t timeout) {
    struct epoll_event seen[4];
    struct timespec left = {.tv_sec = timeout / SECOND,
                            .tv_nsec = timeout % SECOND};
    /* Linux 5.11 and later: wakes an idle core in 46 us, where ppoll() on two
       descriptors takes 50. */
    int n = (int)syscall(SYS_epoll_pwait2, p->epoll_fd, seen, 4, &left, NULL,
                         (size_t)0);
    if (n < 0 && errno == ENOSYS) {
        struct pollfd fd = {.fd = p->epoll_fd, .events = POLLIN};
        n = ppoll(&fd, 1, &left, NULL);
        if (n > 0)
            n = epoll_wait(p->epoll_fd, seen, 4, 0);
    }
    int waited = 0;
    for (int i = 0; i < n; i++)
        waited |= (int)seen[i].data.u32;
    return waited;
}

int mw_platform_wait(mw_platform *p, int64_t deadline) {
    for (;;) {
        int64_t now = mw_now(), until = deadline;
        if (p->feeds.next_drain && p->feeds.next_drain < until)
            until = p->feeds.next_drain;
        if (p->root_pidfd < 0 && now + ROOT_CHECK < until)
            until = now + ROOT_CHECK;
        int waited = sleep_for(p, until > now ? until - now : 0);
        if (!waited && p->root_pidfd < 0 && root_has_ended(p))
            waited = MW_WAITED_ROOT_EXIT;
        now = mw_now();
        if (!waited && p->feeds.next_drain && now >= p->feeds.next_drain)
            waited = MW_WAITED_EVENTS;
        if (waited || now >= deadline)
            return waited;
    }
}

void mw_platform_stop(mw_platform *p) {
    uint64_t one = 1;
    while (write(p->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static int discover_orphans(mw_platform *p, mw_pids *found) {
    size_t before = found->count;
    int error = mw_procfs_children(p->adopter_children_fd, found);
    if (error || !p->other_children.count)
        return error;
    size_t kept = before;
    for (size_t i = before; i < found->count; i++)
        if (!mw_is_other_child(p, found->pid[i]))
            found->pid[kept++] = found->pid[i];
    found->count = kept;
    return 0;
}

/* Finds processes on kernels without lists of children
   (CONFIG_PROC_CHILDREN). */
static int discover_by_scan(mw_platform *p,
                            int (*is_member)(const void *, int32_t),
                            const void *members, mw_pids *found) {
    size_t count, before;
    int error = scan_machine(p, &count);
    do {
        /* Repeats while something is found: a grandchild may be listed before
           its parent. */
        before = found->count;
        for (size_t i = 0; !error && i < count; i++) {
            int32_t pid = p->scan[i].pid, ppid = p->scan[i].ppid;
            int orphan =
                ppid == p->adopter_pid && ppid && !mw_is_other_child(p, pid);
            if ((orphan || is_member(members, ppid) ||
                 mw_pids_have(found, ppid)) &&
                !is_member(members, pid) && !mw_pids_have(found, pid))
                error = mw_pids_add(found, pid);
        }
    } while (!error && found->count != before);
    return error;
}

int mw_platform_discover(mw_platform *p,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found) {
    p->skip_children = mw_feeds_cover_forks(&p->feeds);
    /* An unknown child of the adopter may be an orphan of the job or a child
       that the caller started. Events cover all processes of the job, so with
       them it is the caller's. */
    if (p->skip_children && p->has_other_children)
        return 0;
    if (p->stats.scanning)
        return p->skip_children
                   ? 0
                   : discover_by_scan(p, is_member, members, found);
    if (p->adopter_children_fd >= 0)
        return discover_orphans(p, found);
    return 0;
}

void mw_platform_wake_on_events(mw_platform *p, int wake) {
    mw_feeds_wake_on_exec(&p->feeds, wake);
}

int mw_platform_events(mw_platform *p, int closing, mw_event_list *out) {
    return mw_feeds_drain(&p->feeds, closing, out, &p->stats);
}

uint32_t mw_platform_sources(const mw_platform *p) {
    return mw_feeds_sources(&p->feeds);
}

void mw_platform_stats(const mw_platform *p, mw_sampler_stats *out) {
    *out = p->stats;
}
