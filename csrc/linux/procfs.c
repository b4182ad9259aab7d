/* Reading small files and folders of /proc. */
#include "procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memwatch.h"

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

int mw_procfs_stat(int dir_fd, const char *path, mw_stat *out) {
    char text[MW_FILE_TEXT];
    ssize_t n = mw_procfs_read(dir_fd, path, text, sizeof text);
    return n < 0 ? (int)n : mw_parse_stat(text, (size_t)n, out);
}

int mw_procfs_statm(int dir_fd, const char *path, mw_statm *out) {
    char text[MW_FILE_TEXT];
    ssize_t n = mw_procfs_read(dir_fd, path, text, sizeof text);
    return n < 0 ? (int)n : mw_parse_statm(text, (size_t)n, out);
}

/* Adds the target of a link of /proc. Returns whether it could be read. */
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

int mw_procfs_numbers(int dir_fd, const char *path, mw_pids *found) {
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int error = -errno;
        close(fd);
        return error;
    }
    int error = 0;
    for (struct dirent *entry; !error && (entry = readdir(dir));) {
        int32_t number = mw_parse_pid(entry->d_name);
        if (number)
            error = mw_pids_add(found, number);
    }
    closedir(dir);
    return error;
}

int mw_procfs_threads(int proc_fd, int32_t pid, mw_pids *tids) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/task", pid);
    int error = mw_procfs_numbers(proc_fd, path, tids);
    return error == -ENOMEM ? error : 0;
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

int mw_procfs_children_of_thread(int proc_fd, int32_t pid, int32_t tid,
                                 mw_pids *found) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/task/%d/children", pid, tid);
    int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = mw_procfs_children(fd, found);
    close(fd);
    return error;
}

int mw_procfs_children_of_all(int proc_fd, int32_t pid, mw_pids *found) {
    mw_pids tids = {0};
    int error = mw_procfs_threads(proc_fd, pid, &tids);
    for (size_t i = 0; !error && i < tids.count; i++) {
        /* A thread that has ended meanwhile has left its children to others. */
        int result =
            mw_procfs_children_of_thread(proc_fd, pid, tids.pid[i], found);
        error = result == -ENOMEM ? result : 0;
    }
    free(tids.pid);
    return error;
}
