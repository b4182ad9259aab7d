/*
 * PROC_PIDUNIQIDENTIFIERINFO of proc_pidinfo(): xnu defines it in
 * bsd/sys/proc_info_private.h, which macOS does not ship. It has not changed
 * since 10.9.
 */
#ifndef MW_DARWIN_UNIQUEID_H
#define MW_DARWIN_UNIQUEID_H

#include <stdint.h>

enum { MW_PIDUNIQUEID = 17 };

struct mw_uniqueid_info {
    uint8_t uuid[16];
    uint64_t unique_id;
    uint64_t parent_unique_id;
    int32_t version;
    int32_t original_parent_version;
    uint64_t reserved[2];
};

_Static_assert(sizeof(struct mw_uniqueid_info) == 56,
               "proc_pidinfo() refuses a buffer that is smaller");

#endif
