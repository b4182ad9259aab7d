/*
 * Files in memory that the job writes, found through the descriptors of its
 * processes in /proc/PID/fd. None of them is opened: a file that is removed
 * must give its memory back.
 */
#include "written.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "procfs.h"
#include "state.h"

/* The descriptors of one process that are looked at: each takes 4 us. */
static const int MOST_DESCRIPTORS = 1024;

static const int64_t SECOND = 1000000000;

#ifdef SYS_statx
/* struct statx of linux/stat.h, which old headers do not have: Linux 4.11. */
typedef struct {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, unused;
    uint64_t inode, size, blocks, known_attributes;
    struct {
        int64_t seconds;
        uint32_t nanoseconds;
        int32_t unused;
    } accessed, created, changed, modified;
    uint32_t device_of_node[2], device[2];
    uint64_t reserved[14];
} mw_statx;

enum { WANTED = 0x7ff /* STATX_BASIC_STATS */, CREATED = 0x800 /* _BTIME */ };

/* Waits for no server: a file of another kind may be mounted below. */
enum { DONT_SYNC = 0x4000 /* AT_STATX_DONT_SYNC */ };

static int read_statx(int dir_fd, const char *path, int flags,
                      mw_written *out) {
    mw_statx seen;
    if (syscall(SYS_statx, dir_fd, path, flags | DONT_SYNC, WANTED | CREATED,
                &seen))
        return -errno;
    if (!S_ISREG(seen.mode) && !S_ISDIR(seen.mode))
        return -EINVAL;
    out->device = (uint64_t)seen.device[0] << 32 | seen.device[1];
    out->inode = seen.inode;
    out->bytes = seen.blocks * 512;
    /* In tmpfs since Linux 6.0. */
    if (seen.mask & CREATED)
        out->created = seen.created.seconds * SECOND + seen.created.nanoseconds;
    return S_ISREG(seen.mode);
}
#else
static int read_statx(int dir_fd, const char *path, int flags,
                      mw_written *out) {
    (void)dir_fd, (void)path, (void)flags, (void)out;
    return -ENOSYS;
}
#endif

/* Reads a file or folder: 1 for a regular file, 0 for a folder, or -errno. */
static int read_file(int dir_fd, const char *path, int flags, mw_written *out) {
    struct stat seen;
    *out = (mw_written){0};
    int result = read_statx(dir_fd, path, flags, out);
    /* Old container runtimes refuse what they do not know. */
    if (result != -ENOSYS && result != -EPERM)
        return result;
    if (fstatat(dir_fd, path, &seen, flags))
        return -errno;
    out->device = seen.st_dev;
    out->inode = seen.st_ino;
    out->bytes = (uint64_t)seen.st_blocks * 512;
    return S_ISREG(seen.st_mode);
}

/* Reads a link: its length, cut to the room that there is; 0 if it cannot be
   read. */
static size_t read_link(int dir_fd, const char *name, char *path) {
    ssize_t n = readlinkat(dir_fd, name, path, MW_WRITTEN_PATH - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

void mw_mounts_open(mw_mounts *mounts, const mw_sampler_options *options) {
    for (uint32_t i = 0; i < options->tmpfs_count && i < MW_TMPFS_MOST; i++) {
        mw_mount *mount = &mounts->mount[mounts->count];
        mw_written folder;
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", options->tmpfs[i]);
        mount->length = read_link(AT_FDCWD, name, mount->path);
        if (!mount->length || mount->length == MW_WRITTEN_PATH - 1 ||
            read_file(options->tmpfs[i], "", AT_EMPTY_PATH, &folder) < 0)
            continue;
        if (mount->length == 1)
            mount->length = 0;
        mount->device = folder.device;
        mounts->count++;
    }
}

/* Returns whether a path may be in one of the file systems. Others are not
   asked for what they know of a file: that may take long. */
static int may_be_inside(const mw_mounts *mounts, const char *path) {
    for (size_t i = 0; i < mounts->count; i++) {
        const mw_mount *mount = &mounts->mount[i];
        if (!strncmp(path, mount->path, mount->length) &&
            path[mount->length] == '/')
            return 1;
    }
    return 0;
}

static int is_inside(const mw_mounts *mounts, const mw_written *file) {
    for (size_t i = 0; i < mounts->count; i++)
        if (mounts->mount[i].device == file->device)
            return 1;
    return 0;
}

/* Returns whether a descriptor can be written to: the mode of its link says
   so. */
static int is_writable(int dir_fd, const char *name) {
    struct stat link;
    return !fstatat(dir_fd, name, &link, AT_SYMLINK_NOFOLLOW) &&
           link.st_mode & S_IWUSR;
}

/* Reads the file behind a descriptor. Returns whether it is one that was asked
   for. */
static int look_at(const mw_mounts *mounts, int dir_fd, const char *name,
                   mw_written *out) {
    char path[MW_WRITTEN_PATH];
    size_t length = read_link(dir_fd, name, path);
    if (!may_be_inside(mounts, path) || !is_writable(dir_fd, name) ||
        read_file(dir_fd, name, 0, out) <= 0 || !is_inside(mounts, out))
        return 0;
    if (length < MW_WRITTEN_PATH - 1)
        memcpy(out->path, path, length + 1);
    return 1;
}

/* struct linux_dirent64 of getdents64(2). readdir(3) allocates. */
typedef struct {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
} mw_entry;

int mw_platform_written(const mw_platform *p, int32_t pid,
                        void (*found)(void *context, const mw_written *file),
                        void *context) {
    _Alignas(mw_entry) char entries[4096];
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/fd", pid);
    int fd = openat(p->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int looked = 0;
    long n;
    while (looked < MOST_DESCRIPTORS &&
           (n = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0) {
        const mw_entry *entry;
        for (long at = 0; at < n; at += entry->length) {
            entry = (const mw_entry *)(const void *)(entries + at);
            mw_written file;
            if (!isdigit((unsigned char)entry->name[0]))
                continue;
            looked++;
            if (look_at(&p->mounts, fd, entry->name, &file)) {
                file.pid = pid;
                file.fd = (int32_t)strtol(entry->name, NULL, 10);
                found(context, &file);
            }
        }
    }
    close(fd);
    return looked;
}

/* Reads the size of a file, if it is that file. */
static int is_at(int dir_fd, const char *path, int flags, mw_written *file) {
    mw_written seen;
    if (read_file(dir_fd, path, flags, &seen) <= 0 ||
        seen.device != file->device || seen.inode != file->inode)
        return 0;
    file->bytes = seen.bytes;
    return 1;
}

enum mw_written_state mw_platform_written_again(const mw_platform *p,
                                                mw_written *file) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/fd/%d", file->pid, file->fd);
    if (is_at(p->proc_fd, path, 0, file))
        return MW_WRITTEN_OPEN;
    if (file->path[0] && is_at(AT_FDCWD, file->path, AT_SYMLINK_NOFOLLOW, file))
        return MW_WRITTEN_CLOSED;
    return MW_WRITTEN_GONE;
}
