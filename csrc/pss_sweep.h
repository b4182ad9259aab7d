/*
 * One sweep: reads the proportional set sizes of the processes of a job, one
 * after the other, and adds them up. Between mw_sweep_begin() and the end of
 * mw_sweep_run() a sweep belongs to the thread that runs it.
 */
#ifndef MW_PSS_SWEEP_H
#define MW_PSS_SWEEP_H

#include <stdbool.h>

#include "pss_sum.h"
#include "table.h"

/* For costs and limits that are none. */
#define MW_NO_BOUND 1e300

/* One process of a sweep. */
typedef struct mw_target {
    uint64_t rss;
    uint64_t serial;
    mw_pss_part part;
    bool is_read;            /* in this sweep, or kept */
    bool is_kept;            /* read in an earlier one */
    const mw_pss_part *then; /* its part in that; NULL: nothing is kept */
    int32_t pid;
    int32_t ppid;    /* the process whose memory it may share; 0: none */
    bool too_costly; /* not to be read */
    bool missed;     /* does not count as covered by this sweep */
} mw_target;

typedef struct mw_targets {
    mw_target *items;
    size_t count;
    size_t capacity;
} mw_targets;

typedef struct mw_sweep {
    mw_targets targets;
    mw_targets kept;    /* those of the last sweep if its readings may be used
                           again, else empty; see pss_sum.h */
    bool may_keep;      /* whether this sweep may use them */
    int64_t time;       /* of the tick */
    double budget;      /* ns that it may take */
    double took;        /* ns that it took */
    uint64_t covered;   /* resident sizes of processes that it has dealt with */
    uint64_t sum;       /* the result */
    uint64_t rss;       /* resident sizes of all that are in it */
    uint64_t by_rss;    /* processes counted by resident size */
    uint64_t footprint; /* see mw_pss_sum; of the processes that were read */
    int error;
    bool is_low;         /* see mw_pss_sum */
    bool overran;        /* it took longer than expected, and was cut short */
    bool works;          /* some process could be read, in any sweep */
    double process_cost; /* as measured so far */
    double mib_cost;
} mw_sweep;

/* What a sweep would cost that reads no process of a higher cost than a limit,
   and how much of the job it would cover. Processes that are never read count
   as covered. */
typedef struct mw_plan {
    double cost;
    uint64_t covered;
    size_t to_read;
} mw_plan;

/* A process that takes longer than this is never read at new highs, in ns: for
   that long it might stand still, and the end of memwatch wait. Some 15 GiB in
   small pages. */
#define MW_MOST_FOR_ONE 250e6

/* Makes a sweep with the costs that are expected before any is measured. */
mw_sweep mw_sweep_new(void);

mw_plan mw_sweep_plan(const mw_sweep *sweep, const mw_table *table,
                      double limit);

/* Lists the living processes of the table for a sweep that reads none of a
   higher cost than `limit`, and may take `budget`, both in ns; the result is
   for the tick at `time`. With `may_keep`, readings of the last sweep are used
   again where that makes no difference. Returns 0 or -errno; there may be no
   targets. */
int mw_sweep_begin(mw_sweep *sweep, const mw_table *table, int64_t time,
                   double budget, double limit, bool may_keep);

/* Reads and adds up. Ends early, after the process that is being read, once
   `stops(context)` is true. */
void mw_sweep_run(mw_sweep *sweep, const mw_platform *platform,
                  bool (*stops)(void *), void *context);

void mw_sweep_free(mw_sweep *sweep);

#endif
