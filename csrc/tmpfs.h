/* What is stored in file systems that are in memory: POSIX only. */
#ifndef MW_TMPFS_H
#define MW_TMPFS_H

#include "platform.h"

/* Files that are known at most. Those that are larger stay. */
enum { MW_TMPFS_FILES = 32 };

/* A file that a process of the job had open for writing. */
typedef struct mw_tmpfs_file {
    mw_written file;
    uint64_t others;  /* bytes of it that are not the job's for certain */
    uint64_t written; /* those that are */
    int is_open;
} mw_tmpfs_file;

/* All zero, it watches nothing. */
typedef struct mw_tmpfs {
    int32_t fds[MW_TMPFS_MOST];
    uint32_t count;
    uint64_t now;   /* bytes stored, as last read */
    uint64_t least; /* the least so far */
    int64_t began;  /* by the wall clock */
    mw_tmpfs_file files[MW_TMPFS_FILES];
    size_t file_count;
} mw_tmpfs;

/* Begins to watch the file systems of some folders. The caller keeps the
   descriptors open. */
void mw_tmpfs_begin(mw_tmpfs *tmpfs, const int32_t *fds, uint32_t count);

/* Reads how much is stored, and the known files again: an open one always, the
   others when something has been stored or removed. */
void mw_tmpfs_read(mw_tmpfs *tmpfs, const mw_platform *platform);

/* Notes a file that a process of the job has open for writing now. */
void mw_tmpfs_note(mw_tmpfs *tmpfs, const mw_written *file);

/* Returns how many bytes are stored above the least that was stored since the
   beginning. */
uint64_t mw_tmpfs_stored(const mw_tmpfs *tmpfs);

/* Returns how many of them the job has certainly written. */
uint64_t mw_tmpfs_written(const mw_tmpfs *tmpfs);

#endif
