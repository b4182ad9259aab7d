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

/* What a file of a process tells, as one number. */
typedef int mw_tells(const char *text, size_t length, uint64_t *number);

static int tells_pss(const char *text, size_t length, uint64_t *bytes) {
    return mw_parse_pss(text, length, bytes) ? 0 : -EINVAL;
}

/* In pages. None: it has no memory any more. */
static int tells_resident(const char *text, size_t length, uint64_t *pages) {
    mw_statm statm;
    int error = mw_parse_statm(text, length, &statm);
    *pages = error ? 0 : statm.resident;
    return error || *pages ? error : -ESRCH;
}

static int read_number(const mw_platform *p, const char *path, mw_tells *tells,
                       uint64_t *number) {
    char text[MW_FILE_TEXT];
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    return n < 0 ? (int)n : tells(text, (size_t)n, number);
}

/* Of a process whose first thread has ended before the others any of them can
   tell. */
static int read_any_thread(const mw_platform *p, int32_t pid, const char *file,
                           mw_tells *tells, uint64_t *number) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/%s", pid, file);
    int error = read_number(p, path, tells, number);
    if (error != -ESRCH)
        return error;
    snprintf(path, sizeof path, "%d/task", pid);
    DIR *dir = mw_procfs_opendir(p->proc_fd, path);
    for (struct dirent *entry; dir && error && (entry = readdir(dir));) {
        int32_t tid = mw_parse_pid(entry->d_name);
        if (!tid || tid == pid)
            continue;
        snprintf(path, sizeof path, "%d/task/%d/%s", pid, tid, file);
        error = read_number(p, path, tells, number);
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
    *pss = 0;
    int error = read_any_thread(p, pid, "smaps_rollup", tells_pss, pss);
    return error == -ENOENT ? why_missing(p, pid) : error;
}

int mw_platform_resident(const mw_platform *p, int32_t pid, uint64_t *rss) {
    uint64_t pages = 0;
    int error = read_any_thread(p, pid, "statm", tells_resident, &pages);
    *rss = pages * p->page_size;
    return error;
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
