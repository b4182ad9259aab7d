/* The processes being followed: a dense array to walk, and a hash from pid. */
#ifndef MW_TABLE_H
#define MW_TABLE_H

#include "platform.h"

typedef struct mw_slot {
    mw_handle *handle;
    uint64_t serial;
    uint64_t rss;       /* as last reported */
    uint64_t watermark; /* as last reported; 0 at the start of an image */
    int64_t next_inspection;
    int64_t inspection_gap;
    int32_t pid;
    uint8_t ended;      /* its exit was reported; the pid is not free yet */
    uint8_t foreign;    /* may be a child that the caller started: not reaped */
    uint8_t has_rss;    /* `rss` is known */
    uint8_t unreadable; /* counted as such */
    uint8_t image_retries; /* looks left for a command line still missing */
    int32_t ppid;          /* its parent when it joined */
    uint8_t inherited;     /* forked, nothing executed yet */
} mw_slot;

typedef struct mw_table {
    mw_slot *slots;
    size_t count;
    size_t capacity;
    uint32_t *buckets; /* index into slots + 1; 0 is free */
    size_t bucket_mask;
} mw_table;

/* An empty table, {0}, is valid for every function. */

/* The index of `pid`, or -1. */
ptrdiff_t mw_table_find(const mw_table *table, int32_t pid);

/* Appends a zeroed slot for `pid`, which must not be there: 0 or -ENOMEM. */
int mw_table_add(mw_table *table, int32_t pid, mw_slot **out);

/* Removes one slot; the last one takes its index. */
void mw_table_remove(mw_table *table, size_t index);

void mw_table_free(mw_table *table);

#endif
