/* Every process of the machine, by reading all of /proc. */
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "grow.h"
#include "procfs.h"

/* Room for processes that are started between counting and reading them. */
enum { SPARE = 64 };

/* Returns whether the process was still there. */
static int scan_one(int proc_fd, int32_t pid, uint64_t tick_ns,
                    mw_process *out) {
    char path[MW_PATH];
    mw_stat stat;
    snprintf(path, sizeof path, "%d/stat", pid);
    if (mw_procfs_stat(proc_fd, path, &stat))
        return 0;
    memset(out, 0, sizeof *out);
    out->pid = pid;
    out->ppid = stat.ppid;
    out->state = stat.state;
    out->start = (int64_t)(stat.start_ticks * tick_ns);
    out->valid = MW_HAS_PARENT | MW_HAS_START;
    memcpy(out->name, stat.comm, sizeof out->name - 1);
    return 1;
}

static int scan(int proc_fd, mw_process *out, size_t capacity, size_t *count) {
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    mw_pids pids = {0};
    int error = mw_procfs_numbers(proc_fd, ".", &pids);
    *count = 0;
    for (size_t i = 0; !error && i < pids.count; i++) {
        mw_process none, *to = *count < capacity ? &out[*count] : &none;
        *count += (size_t)scan_one(proc_fd, pids.pid[i], tick_ns, to);
    }
    free(pids.pid);
    if (error)
        return error;
    return *count > capacity ? -ENOBUFS : 0;
}

int mw_scan_all(int proc_fd, mw_process **out, size_t *capacity,
                size_t *count) {
    int error;
    while ((error = scan(proc_fd, *out, *capacity, count)) == -ENOBUFS) {
        void *memory = *out;
        error = mw_grow(&memory, capacity, *count + *count / 2, sizeof **out,
                        SPARE);
        *out = memory;
        if (error)
            return error;
    }
    return error;
}

int mw_scan(const char *proc_root, mw_process *out, size_t capacity,
            size_t *count) {
    int fd = open(proc_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = scan(fd, out, capacity, count);
    close(fd);
    return error;
}
