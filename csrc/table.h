/* The processes being followed: a dense array to walk, and a hash from pid. */
#ifndef MW_TABLE_H
#define MW_TABLE_H

#include "platform.h"

/* What was read of a process just before it tried execve. */
typedef struct mw_attempt {
    int64_t time; /* 0: it has not tried since its image began */
    uint64_t peak;
    uint64_t mark;
    uint64_t text; /* hash */
    uint32_t valid;
} mw_attempt;

typedef struct mw_slot {
    /* What every tick needs: one line of cache. */
    mw_handle *handle; /* NULL: it could not be looked at yet */
    uint64_t serial;
    uint64_t rss;       /* as last reported */
    uint64_t watermark; /* as last reported; 0 at the start of an image */
    int64_t next_inspection;
    int64_t inspection_gap;
    int32_t pid;
    uint8_t ended;      /* its exit was reported; the pid may not be free yet */
    uint8_t foreign;    /* may be a child that the caller started: not reaped */
    uint8_t has_rss;    /* `rss` is known */
    uint8_t unreadable; /* counted as such */
    uint8_t image_retries; /* looks left for a command line still missing */
    uint8_t leaving;       /* word of its end has come */
    uint8_t life;          /* of mw_life, as it was when that was looked into */
    uint8_t patience;      /* passes left to wait for word of its end */
    uint8_t has_image;     /* one was reported */

    uint8_t inherited;    /* the image reported is its parent's */
    uint8_t own_memory;   /* and it is known to have its own, not as by vfork */
    uint8_t is_complete;  /* that image's command line is known */
    uint8_t executed;     /* something whose image was not reported yet */
    uint8_t early_image;  /* reported before word of its exec came */
    uint8_t exec_due;     /* passes left to wait for word of an exec seen */
    uint8_t end_is_known; /* `ended_at` is exact */
    uint8_t exits;        /* it has called exit_group */
    uint8_t has_sums;     /* records of threads are added up */
    uint8_t has_record;   /* that of the first thread, too */
    uint8_t first_ended;  /* that thread has ended before others */
    uint8_t hook_first;   /* its image was reported as the hook saw it */
    uint8_t passes;       /* since it ended */
    uint8_t has_footprint; /* `footprint` is known */
    int32_t ppid;
    int32_t status;
    uint32_t known; /* of mw_valid: start, status, cpu, io, peaks */
    int64_t start;
    uint64_t verified; /* the fetching of news for which its pid was checked */
    int64_t since;     /* of the image reported */
    int64_t executed_at;
    int64_t image_read_at;
    int64_t ended_at;
    int64_t user;
    int64_t system;
    uint64_t peak; /* at the very end */
    uint64_t read_bytes;
    uint64_t written_bytes;
    uint64_t footprint;      /* as last reported */
    uint64_t footprint_mark; /* so, too; 0 at the start of an image */
    uint64_t footprint_peak; /* at the very end */
    uint64_t mark;           /* of the image reported, as in mw_image */
    uint64_t text;           /* hash of its text, for what the hook sees */
    mw_attempt attempt;
    char name[16]; /* of its image, where only that is known */
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
