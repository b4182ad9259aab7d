/* Where the file systems in memory are mounted. */
#ifndef MW_LINUX_WRITTEN_H
#define MW_LINUX_WRITTEN_H

#include "platform.h"

typedef struct mw_mount {
    uint64_t device;
    size_t length;              /* of its path */
    char path[MW_WRITTEN_PATH]; /* empty for the root folder */
} mw_mount;

typedef struct mw_mounts {
    mw_mount mount[MW_TMPFS_MOST];
    size_t count;
} mw_mounts;

/* Notes the file systems of mw_sampler_options.tmpfs. Those that cannot be read
   are left out. */
void mw_mounts_open(mw_mounts *mounts, const mw_sampler_options *options);

#endif
