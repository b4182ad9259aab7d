/* What is stored in file systems that are in memory: POSIX only. */
#ifndef MW_TMPFS_H
#define MW_TMPFS_H

#include "memwatch.h"

/* All zero, it watches nothing. */
typedef struct mw_tmpfs {
    int32_t fds[MW_TMPFS_MOST];
    uint32_t count;
    uint64_t before; /* bytes stored at the beginning */
    uint64_t last;   /* bytes above that, as last read */
} mw_tmpfs;

/* Begins to watch the file systems of some folders. The caller keeps the
   descriptors open. */
void mw_tmpfs_begin(mw_tmpfs *tmpfs, const int32_t *fds, uint32_t count);

/* Returns whether the bytes stored above those at the beginning have changed
   since the last call; `*bytes` is how many there are. */
int mw_tmpfs_read(mw_tmpfs *tmpfs, uint64_t *bytes);

#endif
