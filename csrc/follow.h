/*
 * The processes of the job: turns what is read of them, and their events, into
 * observations. Knows no platform, no thread and no clock.
 */
#ifndef MW_FOLLOW_H
#define MW_FOLLOW_H

#include "credit.h"
#include "platform.h"
#include "queue.h"
#include "table.h"
#include "tmpfs.h"

/* When details are read, beyond the regular inspections. */
typedef struct mw_details {
    mw_credit credit;     /* CPU time */
    uint64_t highest;     /* sum of resident sizes */
    int64_t reserve;      /* credit that is kept at this tick */
    size_t wanted;        /* processes that were to be read at this tick */
    int is_affordable;    /* there is credit for as many as at the last tick */
    int missed;           /* some were not read at this tick: no credit */
    int has_family;       /* some process was forked and has executed nothing */
    int skipped;          /* some were not read, because there was no family */
    int has_faults;       /* those of some process were reported at this tick */
    uint64_t huge_before; /* bytes in huge pages at the first tick, and since */
    uint64_t huge;
} mw_details;

/* The search for files in memory that the job writes. */
typedef struct mw_search {
    uint64_t limit;       /* of the footprint, set by the caller; 0: none */
    mw_credit credit;     /* CPU time */
    size_t next;          /* the index of the slot that was searched last */
    size_t left;          /* slots to search until this search ends */
    uint64_t unexplained; /* bytes at the end of the last search */
    uint64_t reported_stored;
    uint64_t reported_written;
} mw_search;

typedef struct mw_follower {
    mw_platform *platform;
    int32_t root_pid;
    int32_t adopter_pid;    /* see mw_sampler_options */
    int has_other_children; /* see mw_sampler_options */

    mw_queue reported;    /* observations, which the caller takes */
    mw_table table;       /* every process followed */
    uint64_t total;       /* sum of resident sizes at the last tick */
    uint64_t shared;      /* of `total`: of files and shared memory */
    uint64_t footprint;   /* sum of footprints at the last tick; on Linux what
                             the footprint does not exceed, swap left out */
    uint64_t own;         /* of `footprint`, anonymous memory, and files in
                             memory that the job has written */
    uint64_t largest_now; /* resident size of one process at the last tick */
    uint64_t largest;     /* resident size or peak of one process, ever */
    uint64_t unreadable;  /* processes whose memory could not be read */
    int root_ended;

    /* Private. */
    uint64_t last_serial;
    uint64_t ticks;
    uint64_t drains;    /* how often events were fetched */
    int closing;        /* the root has ended: no more events are waited for */
    int has_footprint;  /* that of some process could be read */
    int has_shared;     /* the system says what is shared */
    mw_details details; /* see follow_details.c */
    mw_tmpfs tmpfs;
    mw_search search;     /* see follow_written.c */
    mw_pids found;        /* to be followed if they are not yet */
    mw_pids fresh;        /* forked or executed something: to be read */
    mw_pids leaving;      /* the event of their end has come */
    mw_event_list events; /* of the last fetch */
    mw_event_list early;  /* records that came before their process is known */
    char *text;           /* of the image that is read */
} mw_follower;

/* All zero, except the first four fields, is a valid beginning. */

/* Makes one tick. `skipped` is reported with it. `closing`: the root has ended,
   and there will be no other tick. 0 or -errno. */
int mw_follow_tick(mw_follower *follower, int64_t time, uint32_t flags,
                   uint64_t skipped, int closing);

/* Handles the events between two ticks, and reads the processes that they are
   about. */
int mw_follow_events(mw_follower *follower, int64_t time);

/* Detaches from all processes, and frees everything. */
void mw_follow_end(mw_follower *follower);

#endif
