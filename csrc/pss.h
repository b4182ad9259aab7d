/*
 * Sums proportional set sizes in a thread of its own, since reading one may
 * take seconds and a tick must not wait.
 */
#ifndef MW_PSS_H
#define MW_PSS_H

#include "platform.h"
#include "table.h"

typedef struct mw_pss mw_pss;

int mw_pss_new(const mw_platform *platform, int32_t mode, mw_pss **out);

/* By the ticking thread after each tick: begins a pass over the processes of
   `table` when the mode and the time budget ask for one. `total` is the sum of
   resident sizes. Never waits for a pass under way. */
int mw_pss_offer(mw_pss *pss, int64_t time, uint64_t total,
                 const mw_table *table);

/* The result of a pass that has ended since: 1 and *out (MW_PSS), else 0. */
int mw_pss_take(mw_pss *pss, mw_observation *out);

/* Waits for the one process being read. NULL is allowed. */
void mw_pss_free(mw_pss *pss);

#endif
