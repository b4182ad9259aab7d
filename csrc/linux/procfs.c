#include "procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parse.h"

ssize_t mw_procfs_reread(int fd, char *text, size_t capacity) {
    ssize_t n;
    do
        n = pread(fd, text, capacity, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t mw_procfs_read(int dir_fd, const char *path, char *text,
                       size_t capacity) {
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t length = 0;
    ssize_t n;
    do {
        n = read(fd, text + length, capacity - length);
        if (n > 0)
            length += (size_t)n;
        else if (n < 0 && errno != EINTR)
            break;
    } while (n && length < capacity);
    ssize_t result = n < 0 ? -errno : (ssize_t)length;
    close(fd);
    return result;
}

/* Adds where a link of /proc leads: whether it could be read. */
static int add_link(int dir_fd, const char *path, char *text, size_t *length) {
    /* readlink never writes more than a page of path. */
    ssize_t n = readlinkat(dir_fd, path, text + *length, 4095);
    if (n > 0)
        *length += (size_t)n;
    return n > 0;
}

size_t mw_procfs_image(int dir_fd, const char *comm,
                       const mw_image_paths *paths, char *text, size_t capacity,
                       uint32_t *valid) {
    size_t length = strlen(comm);
    memcpy(text, comm, length);
    text[length++] = '\0';
    if (add_link(dir_fd, paths->exe, text, &length))
        *valid |= MW_HAS_EXE;
    text[length++] = '\0';
    if (add_link(dir_fd, paths->cwd, text, &length)) {
        *valid |= MW_HAS_CWD;
        text[length++] = '\0';
    }
    ssize_t n = mw_procfs_read(dir_fd, paths->cmdline, text + length,
                               capacity - length);
    if (n > 0) {
        *valid |= MW_HAS_ARGV;
        length += (size_t)n;
        if (length == capacity)
            *valid |= MW_ARGV_CUT;
    }
    return length;
}

DIR *mw_procfs_opendir(int dir_fd, const char *path) {
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return dir;
}

int mw_procfs_children(int fd, mw_pids *found) {
    /* The kernel gives at most a page at a time, and whole numbers only. */
    char text[4096];
    off_t at = 0;
    for (;;) {
        ssize_t n = pread(fd, text, sizeof text, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        size_t offset = 0;
        int32_t pid;
        int last = (size_t)n < sizeof text;
        while (mw_parse_child(text, (size_t)n, last, &offset, &pid)) {
            int error = mw_pids_add(found, pid);
            if (error)
                return error;
        }
        /* Less than a page, with room for one more number, is the end. */
        if ((size_t)n + 16 < sizeof text || !offset)
            return 0;
        at += (off_t)offset;
    }
}

static int scan_one(int proc_fd, int32_t pid, const char *name,
                    uint64_t tick_ns, mw_process *out) {
    char path[MW_PATH], text[MW_FILE_TEXT];
    size_t length = strlen(name);
    memcpy(path, name, length);
    memcpy(path + length, "/stat", sizeof "/stat");
    ssize_t n = mw_procfs_read(proc_fd, path, text, sizeof text);
    mw_stat stat;
    if (n < 0 || mw_parse_stat(text, (size_t)n, &stat))
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

int mw_procfs_scan(int proc_fd, mw_process *out, size_t capacity,
                   size_t *count) {
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    *count = 0;
    DIR *dir = mw_procfs_opendir(proc_fd, ".");
    if (!dir)
        return -errno;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        int32_t pid = mw_parse_pid(entry->d_name);
        if (!pid)
            continue;
        mw_process none, *to = *count < capacity ? &out[*count] : &none;
        if (scan_one(proc_fd, pid, entry->d_name, tick_ns, to))
            ++*count;
    }
    closedir(dir);
    return *count > capacity ? -ENOBUFS : 0;
}

int mw_procfs_scan_all(int proc_fd, mw_process **out, size_t *capacity,
                       size_t *count) {
    int error;
    while ((error = mw_procfs_scan(proc_fd, *out, *capacity, count)) ==
           -ENOBUFS) {
        size_t wanted = *count + *count / 2 + 64;
        mw_process *grown = realloc(*out, wanted * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        *out = grown;
        *capacity = wanted;
    }
    return error;
}

int mw_scan(const char *proc_root, mw_process *out, size_t capacity,
            size_t *count) {
    int fd = open(proc_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = mw_procfs_scan(fd, out, capacity, count);
    close(fd);
    return error;
}
