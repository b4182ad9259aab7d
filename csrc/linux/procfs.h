/* Reading small files and folders of /proc. */
#ifndef MW_LINUX_PROCFS_H
#define MW_LINUX_PROCFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "parse.h"
#include "pids.h"

/* Room for a `stat`, `statm` or `status`: the longest of them (`status` of a
   machine with many cores) is about 2 KiB. */
enum { MW_FILE_TEXT = 4096 };

/* Longest path below the /proc root: "PID/task/TID/children". */
enum { MW_PATH = 64 };

/* Reads up to `capacity` bytes of a file from its start: how many, or
   -errno. */
ssize_t mw_procfs_read(int dir_fd, const char *path, char *text,
                       size_t capacity);

/* Does the same with a descriptor that stays open. */
ssize_t mw_procfs_reread(int fd, char *text, size_t capacity);

/* Read and parse `stat` and `statm`: 0 or -errno, see parse.h. */
int mw_procfs_stat(int dir_fd, const char *path, mw_stat *out);
int mw_procfs_statm(int dir_fd, const char *path, mw_statm *out);

/* Paths of the files that describe what a process runs. */
typedef struct mw_image_paths {
    const char *exe;
    const char *cwd;
    const char *cmdline;
} mw_image_paths;

/* Writes the text of an image (see mw_observation) of the process named `comm`.
   Returns its length, at most `capacity`, which has room for more than two
   paths. Adds a bit to `valid` for each part that could be read. */
size_t mw_procfs_image(int dir_fd, const char *comm,
                       const mw_image_paths *paths, char *text, size_t capacity,
                       uint32_t *valid);

/* Adds every number that names an entry of a folder: the processes of /proc
   itself ("."), or the threads of a process ("PID/task"). 0 or -errno. */
int mw_procfs_numbers(int dir_fd, const char *path, mw_pids *found);

/* Adds every thread of a process. None if it has vanished. 0 or -ENOMEM. */
int mw_procfs_threads(int proc_fd, int32_t pid, mw_pids *tids);

/* Adds every pid of the `children` list behind `fd`: 0 or -ENOMEM. */
int mw_procfs_children(int fd, mw_pids *found);

/* Adds the children of one thread: 0 or -errno. */
int mw_procfs_children_of_thread(int proc_fd, int32_t pid, int32_t tid,
                                 mw_pids *found);

/* Adds the children of all threads of a process: 0 or -ENOMEM. */
int mw_procfs_children_of_all(int proc_fd, int32_t pid, mw_pids *found);

#endif
