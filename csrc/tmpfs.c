/* What is stored in file systems that are in memory. */
#include "tmpfs.h"

#include <sys/statvfs.h>

static uint64_t stored(const mw_tmpfs *tmpfs) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tmpfs->count; i++) {
        struct statvfs fs;
        if (!fstatvfs(tmpfs->fds[i], &fs) && fs.f_blocks > fs.f_bfree)
            sum += (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
    }
    return sum;
}

void mw_tmpfs_begin(mw_tmpfs *tmpfs, const int32_t *fds, uint32_t count) {
    tmpfs->count = count < MW_TMPFS_MOST ? count : MW_TMPFS_MOST;
    for (uint32_t i = 0; i < tmpfs->count; i++)
        tmpfs->fds[i] = fds[i];
    tmpfs->before = stored(tmpfs);
    tmpfs->last = 0;
}

int mw_tmpfs_read(mw_tmpfs *tmpfs, uint64_t *bytes) {
    if (!tmpfs->count)
        return 0;
    uint64_t now = stored(tmpfs);
    *bytes = now > tmpfs->before ? now - tmpfs->before : 0;
    int has_changed = *bytes != tmpfs->last;
    tmpfs->last = *bytes;
    return has_changed;
}
