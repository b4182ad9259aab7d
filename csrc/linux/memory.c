/*
 * Memory that is not read at every tick: proportional set sizes, by
 * `smaps_rollup` (Linux 4.14 and later), for which the kernel walks every page
 * of the process with its map of memory locked; and whether two processes share
 * one memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "procfs.h"
#include "state.h"

/* linux/kcmp.h */
enum { KCMP_VM_TYPE = 1 };

uint64_t mw_platform_roughness(const mw_platform *p) { return p->roughness; }

uint64_t mw_platform_page(const mw_platform *p) { return p->page_size; }

uint64_t mw_platform_huge_faults(const mw_platform *p) {
    /* Room for all of `vmstat`, some 6 KiB. */
    char text[16384];
    uint64_t pages;
    if (!p->huge_page_size || p->huge_page_size == MW_ANY_SIZE)
        return p->huge_page_size;
    ssize_t n = mw_procfs_read(p->proc_fd, "vmstat", text, sizeof text);
    if (n <= 0 || !mw_parse_huge_faults(text, (size_t)n, &pages))
        return 0;
    return pages * p->huge_page_size;
}

/* Of the anonymous part of a PSS: the kernel does not say it (Linux < 5.4). */
static const uint64_t UNKNOWN = UINT64_MAX;

/* Reads a file of a process: 0 or -errno. */
typedef int mw_file_reader(int dir_fd, const char *path, void *out);

static int read_pss(int dir_fd, const char *path, void *out) {
    mw_shares *shares = out;
    char text[MW_FILE_TEXT];
    ssize_t n = mw_procfs_read(dir_fd, path, text, sizeof text);
    if (n < 0)
        return (int)n;
    if (!mw_parse_pss(text, (size_t)n, &shares->pss))
        return -EINVAL;
    if (!mw_parse_pss_anonymous(text, (size_t)n, &shares->anonymous))
        shares->anonymous = UNKNOWN;
    mw_parse_pss_parts(text, (size_t)n, &shares->shmem, &shares->swapped,
                       &shares->huge);
    return 0;
}

/* Reads sizes in pages. -ESRCH: the process has no memory any more. */
static int read_memory(int dir_fd, const char *path, void *out) {
    mw_statm *statm = out;
    int error = mw_procfs_statm(dir_fd, path, statm);
    return error || statm->resident ? error : -ESRCH;
}

/* Reads a file of a process. If its first thread has ended before the others,
   any of those has it. */
static int read_any_thread(const mw_platform *p, int32_t pid, const char *file,
                           mw_file_reader *read_file, void *out) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/%s", pid, file);
    int error = read_file(p->proc_fd, path, out);
    if (error != -ESRCH)
        return error;
    mw_pids tids = {0};
    int list_error = mw_procfs_threads(p->proc_fd, pid, &tids);
    for (size_t i = 0; error && i < tids.count; i++) {
        if (tids.pid[i] == pid)
            continue;
        snprintf(path, sizeof path, "%d/task/%d/%s", pid, tids.pid[i], file);
        error = read_file(p->proc_fd, path, out);
    }
    free(tids.pid);
    if (list_error)
        return list_error;
    return error ? -ESRCH : 0;
}

/* Returns why a process has no `smaps_rollup`, as -errno. */
static int why_missing(const mw_platform *p, int32_t pid) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/statm", pid);
    if (!faccessat(p->proc_fd, path, F_OK, 0))
        return -ENOTSUP;
    /* A process of another user may be hidden: proc(5), hidepid. */
    return p->real && !(kill(pid, 0) && errno == ESRCH) ? -EACCES : -ESRCH;
}

int mw_platform_pss(const mw_platform *p, int32_t pid, mw_shares *out) {
    *out = (mw_shares){0};
    int error = read_any_thread(p, pid, "smaps_rollup", read_pss, out);
    if (!error && out->anonymous == UNKNOWN) {
        /* What is not a file or shared memory: no part of those is more than
           all of them. */
        mw_memory memory;
        int is_known = !mw_platform_memory(p, pid, &memory);
        out->anonymous =
            is_known && out->pss > memory.shared ? out->pss - memory.shared : 0;
    }
    return error == -ENOENT ? why_missing(p, pid) : error;
}

int mw_platform_memory(const mw_platform *p, int32_t pid, mw_memory *out) {
    char path[MW_PATH];
    mw_statm statm = {0};
    mw_stat stat;
    *out = (mw_memory){0};
    int error = read_any_thread(p, pid, "statm", read_memory, &statm);
    if (error)
        return error;
    out->rss = statm.resident * p->page_size;
    out->shared = statm.shared * p->page_size;
    snprintf(path, sizeof path, "%d/stat", pid);
    if (!mw_procfs_stat(p->proc_fd, path, &stat))
        out->faults = stat.faults;
    return 0;
}

static int read_statm(const mw_platform *p, int32_t pid, mw_statm *out) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/statm", pid);
    return mw_procfs_statm(p->proc_fd, path, out);
}

static char state_of(const mw_platform *p, int32_t pid) {
    char path[MW_PATH];
    mw_stat stat;
    snprintf(path, sizeof path, "%d/stat", pid);
    return mw_procfs_stat(p->proc_fd, path, &stat) ? '\0' : stat.state;
}

/* Returns whether `parent` stands still in vfork(2), an uninterruptible sleep,
   and its memory is to the page as large as the child's. After fork(2) it is
   not, because mapped files are not copied. A vfork in another thread than the
   first is not seen: then the memory is counted twice until the exec. */
static int waits_in_vfork(const mw_platform *p, int32_t pid, int32_t parent) {
    mw_statm one, other;
    if (state_of(p, parent) != 'D')
        return 0;
    return !read_statm(p, pid, &one) && !read_statm(p, parent, &other) &&
           one.size && one.size == other.size && one.text == other.text &&
           one.resident == other.resident;
}

int mw_platform_shares_memory(const mw_platform *p, int32_t pid,
                              int32_t other) {
    if (!p->real)
        return 0;
    long order = syscall(SYS_kcmp, pid, other, KCMP_VM_TYPE, 0ul, 0ul);
    if (order >= 0)
        return order == 0;
    /* Container runtimes refuse kcmp(2), and a kernel may be built without. */
    return errno != ESRCH && waits_in_vfork(p, pid, other);
}
