/*
 * Proportional set sizes: what `smaps_rollup` tells (Linux 4.14 and later). The
 * kernel walks every page of the process for it, its map of memory locked.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parse.h"
#include "procfs.h"

/* linux/kcmp.h */
enum { KCMP_VM_TYPE = 1 };

void mw_platform_name_thread(const char *name) { prctl(PR_SET_NAME, name); }

static int read_rollup(const mw_platform *p, const char *path, uint64_t *pss) {
    char text[MW_FILE_TEXT];
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    if (n < 0)
        return (int)n;
    return mw_parse_pss(text, (size_t)n, pss) ? 0 : -EINVAL;
}

/* Of a process whose first thread has ended before the others: any of them can
   tell. */
static int read_other_thread(const mw_platform *p, int32_t pid, uint64_t *pss) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/task", pid);
    DIR *dir = mw_procfs_opendir(p->proc_fd, path);
    int error = -ESRCH;
    for (struct dirent *entry; dir && error && (entry = readdir(dir));) {
        int32_t tid = mw_parse_pid(entry->d_name);
        if (!tid || tid == pid)
            continue;
        snprintf(path, sizeof path, "%d/task/%d/smaps_rollup", pid, tid);
        error = read_rollup(p, path, pss);
    }
    if (dir)
        closedir(dir);
    return error ? -ESRCH : 0;
}

/* Why there is no such file. */
static int why_missing(const mw_platform *p, int32_t pid) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/statm", pid);
    if (!faccessat(p->proc_fd, path, F_OK, 0))
        return -ENOTSUP;
    /* One of another user may be hidden: proc(5), hidepid. */
    return p->real && !(kill(pid, 0) && errno == ESRCH) ? -EACCES : -ESRCH;
}

int mw_platform_pss(const mw_platform *p, int32_t pid, uint64_t *pss) {
    char path[MW_PATH];
    *pss = 0;
    snprintf(path, sizeof path, "%d/smaps_rollup", pid);
    int error = read_rollup(p, path, pss);
    if (error == -ESRCH)
        error = read_other_thread(p, pid, pss);
    return error == -ENOENT ? why_missing(p, pid) : error;
}

static int read_statm(const mw_platform *p, int32_t pid, mw_statm *out) {
    char path[MW_PATH], text[MW_FILE_TEXT];
    snprintf(path, sizeof path, "%d/statm", pid);
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    return n < 0 ? (int)n : mw_parse_statm(text, (size_t)n, out);
}

static char state_of(const mw_platform *p, int32_t pid) {
    char path[MW_PATH], text[MW_FILE_TEXT];
    mw_stat stat;
    snprintf(path, sizeof path, "%d/stat", pid);
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    return n < 0 || mw_parse_stat(text, (size_t)n, &stat) ? '\0' : stat.state;
}

/* Whether `parent` stands still in vfork(2), an uninterruptible sleep, and its
   memory is to the page as large as the child's. After fork(2) it is not: what
   is mapped of files does not come along. A vfork in another thread than the
   first is not seen so: then the memory is counted twice until the exec. */
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
    /* Container runtimes refuse it, and a kernel may be built without. */
    return errno != ESRCH && waits_in_vfork(p, pid, other);
}
