/* Reading small files of /proc, and what the Linux files share. */
#ifndef MW_LINUX_PROCFS_H
#define MW_LINUX_PROCFS_H

#include <dirent.h>
#include <sys/types.h>

#include "feeds.h"
#include "platform.h"

/* Room for a `stat`, `statm` or `status`: the longest of them (`status` of a
   machine with many cores) is about 2 KiB. */
enum { MW_FILE_TEXT = 4096 };

/* Longest path below the /proc root: "PID/task/TID/children". */
enum { MW_PATH = 64 };

struct mw_platform {
    int proc_fd;
    int real;       /* proc_fd is this machine's /proc, not a test's tree */
    int stop_fd;    /* eventfd */
    int events_fd;  /* epoll: stop_fd, root_pidfd, those of the feeds */
    int root_pidfd; /* -1: not asked for yet, or the kernel has none */
    int32_t root_pid;
    int32_t adopter_pid;
    int has_other_children; /* besides those it adopts */
    int adopter_children_fd;
    mw_pids not_ours; /* children the adopter had before the job */
    uint32_t descriptors_left;
    uint64_t page_size;
    uint64_t roughness;
    uint64_t tick_ns; /* length of a clock tick as in `stat` */
    mw_sampler_stats stats;
    mw_process *scan; /* buffer of the last scan */
    size_t scan_capacity;
    mw_feeds feeds;
    int skip_children; /* in this pass: events tell of every fork */
};

/* Whether a child of the adopter was there before the job. */
int mw_is_other_child(const mw_platform *p, int32_t pid);

/* Reads up to `capacity` bytes of a file from its start: how many, or -errno.
 */
ssize_t mw_procfs_read(int dir_fd, const char *path, char *text,
                       size_t capacity);

/* Does the same with a descriptor that stays open. */
ssize_t mw_procfs_reread(int fd, char *text, size_t capacity);

/* Files of a process that tell what it runs. */
typedef struct mw_image_paths {
    const char *exe;
    const char *cwd;
    const char *cmdline;
} mw_image_paths;

/* Writes the text of an image (see mw_observation) of the process named `comm`:
   its length, at most `capacity`, which has room for more than two paths. Adds
   what could be read to `valid`. */
size_t mw_procfs_image(int dir_fd, const char *comm,
                       const mw_image_paths *paths, char *text, size_t capacity,
                       uint32_t *valid);

/* A folder of /proc to read with readdir(3), or NULL and errno. */
DIR *mw_procfs_opendir(int dir_fd, const char *path);

/* Adds every pid of the `children` list behind `fd` to `found`. */
int mw_procfs_children(int fd, mw_pids *found);

/* mw_scan() on an open /proc. */
int mw_procfs_scan(int proc_fd, mw_process *out, size_t capacity,
                   size_t *count);

/* The same into memory that grows: *out is NULL or from malloc(3), and has room
   for *capacity. */
int mw_procfs_scan_all(int proc_fd, mw_process **out, size_t *capacity,
                       size_t *count);

#endif
