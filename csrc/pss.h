/*
 * Sums proportional set sizes in a thread of its own, since reading one may
 * take seconds and a tick must not wait. All functions but mw_pss_free() may be
 * called with NULL, where nothing is to be summed, and belong to the ticking
 * thread.
 */
#ifndef MW_PSS_H
#define MW_PSS_H

#include "platform.h"
#include "table.h"

typedef struct mw_pss mw_pss;

/* *out is NULL with MW_PSS_OFF. */
int mw_pss_new(const mw_platform *platform, int32_t mode, mw_pss **out);

/* After each tick: begins a pass over the processes of `table` when the mode
   and the time budget ask for one. `total` is the sum of resident sizes. Never
   waits for a pass under way. 1 when one was begun, 0 when not, or -errno, once
   and for all: no sums are to be had here. */
int mw_pss_offer(mw_pss *pss, int64_t time, uint64_t total,
                 const mw_table *table);

/* The result of a pass that has ended since: 1 and *out (MW_PSS), else 0. Its
   time is that of the tick that prompted it. The sum, and `process` beside it,
   lack processes that had ended by their turn. MW_TICK_PARTIAL: the resident
   size was taken of some, so the sum is no more than an upper bound. */
int mw_pss_take(mw_pss *pss, mw_observation *out);

/* Ends the thread as soon as the one process being read is through. NULL is
   allowed. */
void mw_pss_free(mw_pss *pss);

#endif
