/* The processes being followed: a dense array to walk, and a hash from pid. */
#ifndef MW_TABLE_H
#define MW_TABLE_H

#include "platform.h"

/* What was read of a process just before it called execve. */
typedef struct mw_attempt {
    int64_t time; /* 0: it has not called it since its image began */
    uint64_t peak;
    uint64_t exec_id;
    uint64_t text_hash;
    uint32_t valid;
} mw_attempt;

/* One process that is followed. */
typedef struct mw_slot {
    /* What every tick needs, in one cache line. */
    mw_handle *handle; /* NULL: it could not be read yet */
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
    uint8_t image_retries; /* readings left for a command line still missing */
    uint8_t leaving;       /* the event of its end has come */
    uint8_t life;          /* of mw_life, when that was last checked */
    uint8_t patience;      /* ticks left to wait for the event of its end */
    uint8_t has_image;     /* one was reported */

    uint64_t shared;       /* bytes of files and shared memory in `rss` */
    uint64_t parts_shared; /* `shared` when its parts were last read */
    uint64_t parts_size;   /* its address space then */
    uint8_t inherited;     /* the image reported is its parent's */
    uint8_t has_forks;     /* of the image reported, with its memory */
    uint8_t has_faults;    /* `faults_reported` is known */
    uint8_t own_memory;    /* its memory is known not to be its parent's, as it
                              is after vfork */
    uint8_t is_complete;   /* the command line of the image is known */
    uint8_t executed;      /* something whose image was not reported yet */
    uint8_t early_image;   /* reported before the event of its exec came */
    uint8_t exec_due;      /* ticks left to wait for the event of an exec */
    uint8_t end_is_known;  /* `ended_at` is exact */
    uint8_t exits;         /* it has called exit_group */
    uint8_t has_sums;      /* the records of its threads are added up */
    uint8_t has_record;    /* that of the first thread is among them */
    uint8_t first_ended;   /* that thread has ended before others */
    uint8_t hook_first;    /* its image was reported as the hook read it */
    uint8_t ticks_ended;   /* since it ended */
    uint8_t has_footprint; /* `footprint` is known */
    int32_t ppid;
    int32_t status;
    uint32_t known; /* of mw_valid: start, status, cpu, io, peaks */
    int64_t start;
    uint64_t verified; /* the drain in which its pid was last checked */
    int64_t since;     /* when the image reported began */
    int64_t executed_at;
    int64_t image_read_at;
    int64_t ended_at;
    int64_t user;
    int64_t system;
    uint64_t peak; /* at the very end */
    uint64_t read_bytes;
    uint64_t written_bytes;
    uint64_t faults;              /* at the very end */
    uint64_t footprint;           /* as last reported */
    uint64_t footprint_watermark; /* as last reported; 0 at the start of an
                                     image */
    uint64_t footprint_peak;      /* at the very end */
    uint64_t exec_id;             /* of the image reported: see mw_image */
    uint64_t text_hash;           /* of its text, to compare with the hook's */
    uint64_t faults_reported;
    mw_parts parts; /* as last reported */
    mw_attempt attempt;
    char name[16]; /* of its image, if only that is known */
} mw_slot;

/* An empty table, {0}, is valid for every function. */
typedef struct mw_table {
    mw_slot *slots;
    size_t count;
    size_t capacity;
    uint32_t *buckets; /* index into slots + 1; 0 is free */
    size_t bucket_mask;
} mw_table;

/* Returns the index of `pid`, or -1. */
ptrdiff_t mw_table_find(const mw_table *table, int32_t pid);

/* Appends a zeroed slot for `pid`, which must not be there: 0 or -ENOMEM. */
int mw_table_add(mw_table *table, int32_t pid, mw_slot **out);

/* Removes one slot; the last one takes its index. */
void mw_table_remove(mw_table *table, size_t index);

void mw_table_free(mw_table *table);

#endif
