/*
 * One process: what is read of it at every tick, now and then, and once.
 *
 * `statm` and `children` are read through descriptors that stay open, because
 * opening is most of the cost of a small /proc file. Such a descriptor belongs
 * to one process for good: when that process is reaped, reading gives ESRCH,
 * even if the pid has been reused. If no descriptor is left, a process is read
 * by path, and its start time tells it from a later process with the same pid.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "procfs.h"
#include "state.h"

/* mw_handle.text_pages: the last reading was in the middle of an execve. */
static const uint64_t UNDECIDED = UINT64_MAX;

/* The shortest time between two checks of how many threads a process has (2 us
   each), and the longest between two listings of them if it has several (20 us
   and more): one may have ended and another begun. */
static const int64_t THREAD_CHECK = 16000000;
static const int64_t THREAD_LISTING = 128000000;

/* The most lists of children that are read per process and tick. With more
   threads than that they take turns, so that a tick stays short. */
static const size_t MOST_LISTS = 32;

typedef struct {
    int32_t tid;
    int children_fd; /* -1: read by path */
} mw_thread;

struct mw_handle {
    /* What every tick needs, in one cache line, since all is cold by then. */
    _Alignas(64) int32_t pid;
    int statm_fd;        /* -1: read by path */
    int children_fd;     /* of the first thread; -1: read by path */
    bool forked;         /* PF_FORKNOEXEC at the last reading */
    bool had_threads;    /* besides the first, at some time */
    bool check_threads;  /* their number may have changed */
    uint64_t text_pages; /* tells images apart, free with every `statm`; 0: the
                            first is not complete yet */
    uint64_t size; /* pages of address space: a new thread's stack adds some */
    size_t thread_count;
    int64_t next_thread_check;
    int64_t next_thread_listing;

    mw_thread *threads; /* all but the first, when there are others */
    size_t next_thread;
    uint64_t start_ticks; /* 0: unreadable */
    uint64_t start_stack; /* tells images apart, read by the inspection */
    char first_name[16];  /* until its first image has been read */
};

static void path_of(char *path, int32_t pid, const char *file) {
    snprintf(path, MW_PATH, "%d/%s", pid, file);
}

/* Returns whether a process that /proc does not show has really gone. A process
   of another user may be hidden (proc(5), hidepid), also one that we may
   signal. */
static int is_gone(const mw_platform *p, int32_t pid, ssize_t error) {
    /* ESRCH comes from a file that could be opened, or from a pid that has been
       reused. */
    if (error != -ENOENT)
        return error == -ESRCH;
    return !p->real || (kill(pid, 0) && errno == ESRCH);
}

/* Opens a file to keep, if the budget allows: a descriptor or -errno. */
static int open_kept(mw_platform *p, const char *path) {
    if (!p->descriptors_left)
        return -EMFILE;
    int fd = openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        p->descriptors_left--;
    return fd < 0 ? -errno : fd;
}

static void close_kept(mw_platform *p, int *fd) {
    if (*fd >= 0) {
        close(*fd);
        p->descriptors_left++;
    }
    *fd = -1;
}

/* Reads `stat` by path: 0; -ESRCH if the pid has been reused; or why it could
   not be read. */
static int read_stat(const mw_platform *p, const mw_handle *h, mw_stat *out) {
    char path[MW_PATH];
    path_of(path, h->pid, "stat");
    int error = mw_procfs_stat(p->proc_fd, path, out);
    /* Perhaps only the first thread was released, in the execve of another
       thread that takes its place. */
    if (error == -ESRCH)
        error = mw_procfs_stat(p->proc_fd, path, out);
    if (error)
        return error;
    return h->start_ticks && out->start_ticks != h->start_ticks ? -ESRCH : 0;
}

/* Returns whether `stat` shows another image than last time. Without code it
   shows none: the process is exiting, or in the middle of execve, where the
   stack moves twice. */
static int has_new_image(mw_handle *h, const mw_stat *stat) {
    if (!stat->start_code)
        return 0;
    int forked = (stat->flags & PF_FORKNOEXEC) != 0;
    int is_new =
        (h->forked && !forked) || (h->start_stack && stat->start_stack &&
                                   h->start_stack != stat->start_stack);
    h->start_stack = stat->start_stack;
    h->forked = forked;
    return is_new;
}

static int read_kept_statm(const mw_handle *h, mw_statm *out) {
    char text[MW_FILE_TEXT];
    ssize_t n = mw_procfs_reread(h->statm_fd, text, sizeof text);
    return n < 0 ? (int)n : mw_parse_statm(text, (size_t)n, out);
}

/* Notes the size of the image's text, and that nothing else is known of it. */
static void set_text_pages(mw_handle *h, uint64_t text_pages) {
    h->text_pages = text_pages;
    h->start_stack = 0;
    h->forked = 0;
}

/* Notes the image that runs now. Returns whether another one ran before. */
static int note_image(mw_handle *h) {
    mw_statm statm;
    if (h->statm_fd < 0 || read_kept_statm(h, &statm) || !statm.text ||
        statm.text == h->text_pages)
        return 0;
    set_text_pages(h, statm.text);
    return 1;
}

static void keep_descriptors(mw_platform *p, mw_handle *h) {
    char path[MW_PATH];
    path_of(path, h->pid, "statm");
    h->statm_fd = open_kept(p, path);
    if (h->statm_fd < 0)
        return;
    snprintf(path, sizeof path, "%d/task/%d/children", h->pid, h->pid);
    h->children_fd = open_kept(p, path);
    note_image(h);
}

int mw_platform_attach(mw_platform *p, int32_t pid, mw_handle **out,
                       mw_identity *identity) {
    *out = NULL;
    mw_handle *h = aligned_alloc(_Alignof(mw_handle), sizeof *h);
    if (!h)
        return -ENOMEM;
    memset(h, 0, sizeof *h);
    h->pid = pid;
    h->statm_fd = h->children_fd = -1;
    keep_descriptors(p, h);

    mw_stat stat;
    int error = read_stat(p, h, &stat);
    /* If it cannot be read for another reason, for want of a descriptor say,
       the process is there nevertheless: the next tick may show more. */
    if (error == -EINVAL || is_gone(p, pid, error)) {
        mw_platform_detach(p, h);
        return 0;
    }
    if (!error) {
        h->start_ticks = stat.start_ticks;
        memcpy(h->first_name, stat.comm, sizeof h->first_name - 1);
        has_new_image(h, &stat);
        identity->start = (int64_t)(stat.start_ticks * p->tick_ns);
        identity->ppid = stat.ppid;
        identity->valid = MW_HAS_START;
    }
    if (h->statm_fd < 0)
        p->stats.unkept++;
    *out = h;
    return 0;
}

static void drop_threads(mw_platform *p, mw_handle *h) {
    for (size_t i = 0; i < h->thread_count; i++)
        close_kept(p, &h->threads[i].children_fd);
    free(h->threads);
    h->threads = NULL;
    h->thread_count = h->next_thread = 0;
}

void mw_platform_detach(mw_platform *p, mw_handle *h) {
    drop_threads(p, h);
    close_kept(p, &h->statm_fd);
    close_kept(p, &h->children_fd);
    free(h);
}

static int same_threads(const mw_handle *h, const mw_pids *tids) {
    if (tids->count != h->thread_count)
        return 0;
    for (size_t i = 0; i < tids->count; i++)
        if (tids->pid[i] != h->threads[i].tid)
            return 0;
    return 1;
}

/* Lists the threads of a process, without the first. */
static int list_other_threads(const mw_platform *p, const mw_handle *h,
                              mw_pids *tids) {
    int error = mw_procfs_threads(p->proc_fd, h->pid, tids);
    size_t kept = 0;
    for (size_t i = 0; i < tids->count; i++)
        if (tids->pid[i] != h->pid)
            tids->pid[kept++] = tids->pid[i];
    tids->count = kept;
    return error;
}

/* Lists the threads again, and keeps a descriptor for each as far as there are
   any left. */
static int relist_threads(mw_platform *p, mw_handle *h) {
    mw_pids tids = {0};
    int error = list_other_threads(p, h, &tids);
    if (error || same_threads(h, &tids)) {
        free(tids.pid);
        return error;
    }
    drop_threads(p, h);
    if (tids.count) {
        h->had_threads = 1;
        h->threads = calloc(tids.count, sizeof *h->threads);
        if (!h->threads)
            error = -ENOMEM;
    }
    for (size_t i = 0; !error && i < tids.count; i++) {
        char path[MW_PATH];
        snprintf(path, sizeof path, "%d/task/%d/children", h->pid, tids.pid[i]);
        h->threads[i].tid = tids.pid[i];
        h->threads[i].children_fd = open_kept(p, path);
        h->thread_count = i + 1;
    }
    free(tids.pid);
    return error;
}

/* Lists the threads again if they may not be the same any more. */
static int check_threads(mw_platform *p, mw_handle *h, int64_t now) {
    int listing = h->had_threads && now >= h->next_thread_listing;
    if (!listing && (!h->check_threads || now < h->next_thread_check))
        return 0;
    h->check_threads = 0;
    h->next_thread_check = now + THREAD_CHECK;
    if (!listing) {
        char path[MW_PATH];
        struct stat task;
        path_of(path, h->pid, "task");
        if (fstatat(p->proc_fd, path, &task, 0))
            return 0;
        /* The folder has a link for itself, one for its parent, and one for
           each thread. */
        size_t others = task.st_nlink > 3 ? (size_t)task.st_nlink - 3 : 0;
        if (others == h->thread_count)
            return 0;
    }
    h->next_thread_listing = now + THREAD_LISTING;
    return relist_threads(p, h);
}

/* Adds the children of one thread, through its descriptor if that was kept. */
static int add_children(mw_platform *p, const mw_handle *h, int32_t tid, int fd,
                        mw_pids *found) {
    if (fd >= 0)
        return mw_procfs_children(fd, found);
    return mw_procfs_children_of_thread(p->proc_fd, h->pid, tid, found);
}

/* Returns whether a process is there but its list of children is not: the
   kernel has no such lists. */
static int has_no_lists(const mw_platform *p, const mw_handle *h) {
    char path[MW_PATH];
    path_of(path, h->pid, "statm");
    return !faccessat(p->proc_fd, path, F_OK, 0);
}

static int poll_children(mw_platform *p, mw_handle *h, int64_t now,
                         mw_pids *found) {
    if (p->stats.scanning || p->skip_children)
        return 0;
    int error = add_children(p, h, h->pid, h->children_fd, found);
    if (error == -ENOENT && has_no_lists(p, h))
        p->stats.scanning = 1;
    if (error == -ENOMEM)
        return error;
    error = check_threads(p, h, now);
    if (error)
        return error;
    size_t turns = h->thread_count < MOST_LISTS ? h->thread_count : MOST_LISTS;
    for (size_t i = 0; i < turns; i++) {
        mw_thread *thread = &h->threads[h->next_thread];
        h->next_thread = (h->next_thread + 1) % h->thread_count;
        error = add_children(p, h, thread->tid, thread->children_fd, found);
        if (error == -ENOMEM)
            return error;
    }
    return 0;
}

/* Reads the memory of a process whose first thread has ended before the others
   from any of those. Without one that has memory, `*out` stays as it is or has
   only zeros. */
static void read_other_thread(const mw_platform *p, const mw_handle *h,
                              mw_statm *out) {
    char path[MW_PATH];
    mw_pids tids = {0};
    int error = list_other_threads(p, h, &tids), found = 0;
    for (size_t i = 0; !error && !found && i < tids.count; i++) {
        snprintf(path, sizeof path, "%d/task/%d/statm", h->pid, tids.pid[i]);
        found = !mw_procfs_statm(p->proc_fd, path, out) && out->size;
    }
    free(tids.pid);
}

static void note_threads(mw_handle *h, const mw_stat *stat) {
    if (stat->threads != (int64_t)h->thread_count + 1)
        h->check_threads = 1;
}

static int read_statm(const mw_platform *p, const mw_handle *h, mw_statm *out) {
    if (h->statm_fd >= 0)
        return read_kept_statm(h, out);
    char path[MW_PATH];
    path_of(path, h->pid, "statm");
    return mw_procfs_statm(p->proc_fd, path, out);
}

static void set_memory(const mw_platform *p, const mw_statm *statm,
                       mw_reading *out) {
    out->rss = statm->resident * p->page_size;
    out->shared = statm->shared * p->page_size;
    out->size = p->has_huge_pages ? statm->size * p->page_size : 0;
    out->valid = MW_HAS_RSS | MW_HAS_SHARED;
}

/* Reads a process with the help of `stat`, where `statm` does not say enough.
   The resident size in `stat` is not used: since Linux 6.2 it leaves out what
   each CPU has not added up yet, and is 0 for a process that is small or
   young. */
static void read_by_stat(const mw_platform *p, mw_handle *h, mw_reading *out) {
    mw_stat stat;
    mw_statm statm = {0};
    int error = read_stat(p, h, &stat);
    int leader_ended = !error && (stat.state == 'Z' || stat.state == 'X');
    if (leader_ended && stat.threads <= 1) {
        out->life = MW_ENDED;
        return;
    }
    /* If the leader has ended and no other thread can be read, the last of them
       are exiting and hold nothing any more. */
    if (leader_ended)
        read_other_thread(p, h, &statm);
    else if (!error)
        error = read_statm(p, h, &statm);
    if (error) {
        out->life = is_gone(p, h->pid, error) ? MW_VANISHED : MW_ALIVE;
        return;
    }
    if (!h->start_ticks)
        h->start_ticks = stat.start_ticks;
    set_memory(p, &statm, out);
    note_threads(h, &stat);
    if (h->statm_fd < 0)
        out->new_image = has_new_image(h, &stat);
}

static void read_process(const mw_platform *p, mw_handle *h, mw_reading *out) {
    out->life = MW_ALIVE;
    if (h->statm_fd < 0) {
        read_by_stat(p, h, out);
        return;
    }
    mw_statm statm;
    int error = read_kept_statm(h, &statm);
    if (error) {
        out->life = is_gone(p, h->pid, error) ? MW_VANISHED : MW_ALIVE;
        return;
    }
    if (!statm.size) {
        /* It has no memory any more: it is exiting, has ended, or only its
           first thread has. */
        read_by_stat(p, h, out);
        return;
    }
    set_memory(p, &statm, out);
    if (statm.size != h->size) {
        h->size = statm.size;
        h->check_threads = 1;
    }
    if (!statm.text) {
        /* It is in the middle of execve: once it has a text again, the image is
           new. */
        if (h->text_pages)
            h->text_pages = UNDECIDED;
    } else if (statm.text != h->text_pages) {
        out->new_image = h->text_pages != 0;
        set_text_pages(h, statm.text);
    }
}

int mw_platform_poll(mw_platform *p, mw_handle *h, int64_t now, mw_reading *out,
                     mw_pids *found) {
    read_process(p, h, out);
    if (out->life != MW_ALIVE)
        return 0;
    return poll_children(p, h, now, found);
}

int mw_platform_inspect(mw_platform *p, mw_handle *h, mw_inspection *out) {
    char path[MW_PATH], text[MW_FILE_TEXT];
    path_of(path, h->pid, "status");
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    /* `stat` is read after `status`: if it is still of this process, then
       `status` was of it as well. */
    mw_stat stat;
    if (n < 0 || read_stat(p, h, &stat))
        return 0;
    if (mw_parse_watermark(text, (size_t)n, &out->watermark))
        out->valid = MW_HAS_WATERMARK;
    mw_parts *parts = &out->parts;
    out->has_parts = mw_parse_parts(text, (size_t)n, &parts->shmem,
                                    &parts->swapped, &parts->huge);
    out->faults = stat.faults;
    out->valid |= MW_HAS_FAULTS;
    out->new_image = has_new_image(h, &stat);
    note_threads(h, &stat);
    return 0;
}

static uint64_t exec_id_now(const mw_platform *p, const mw_handle *h) {
    mw_stat stat;
    return read_stat(p, h, &stat) ? 0 : mw_exec_id(&stat);
}

static void read_image(const mw_platform *p, mw_handle *h, char *text,
                       size_t capacity, mw_image *out) {
    mw_stat stat;
    *out = (mw_image){0};
    if (read_stat(p, h, &stat))
        return;
    /* So that the next inspection does not take this image for a new one. */
    has_new_image(h, &stat);
    if (stat.flags & PF_FORKNOEXEC)
        out->valid |= MW_INHERITED;
    char exe[MW_PATH], cwd[MW_PATH], cmdline[MW_PATH];
    path_of(exe, h->pid, "exe");
    path_of(cwd, h->pid, "cwd");
    path_of(cmdline, h->pid, "cmdline");
    out->exec_id = mw_exec_id(&stat);
    out->length = mw_procfs_image(p->proc_fd, stat.comm,
                                  &(mw_image_paths){exe, cwd, cmdline}, text,
                                  capacity, &out->valid);
}

void mw_platform_image(mw_platform *p, mw_handle *h, char *text,
                       size_t capacity, mw_image *out) {
    read_image(p, h, text, capacity, out);
    /* If another image runs by now, the text may be half of each, and the exec
       id that of an image that will never be read. */
    if (note_image(h) || exec_id_now(p, h) != out->exec_id)
        read_image(p, h, text, capacity, out);
    if (!out->length && h->first_name[0]) {
        /* It has gone since it was attached: only its name is left. */
        out->length = strlen(h->first_name) + 2;
        memcpy(text, h->first_name, out->length - 1);
        text[out->length - 1] = '\0';
    }
    h->first_name[0] = '\0';
}

int mw_platform_reap(mw_platform *p, mw_handle *h, int *status,
                     uint64_t *peak) {
    *peak = 0; /* ru_maxrss begins at that of the process that started it */
    /* Only with an adopter are the job's root and orphans our children; for any
       other process waitpid gives ECHILD. */
    return p->adopter_pid && waitpid(h->pid, status, WNOHANG) == h->pid;
}
