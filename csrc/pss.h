/*
 * Sums proportional set sizes in a thread of its own, since reading one may
 * take seconds and a tick must not wait. The functions belong to the ticking
 * thread, and do nothing if `pss` is NULL.
 */
#ifndef MW_PSS_H
#define MW_PSS_H

#include "platform.h"
#include "table.h"

typedef struct mw_pss mw_pss;

/* Makes what sums sizes in one of mw_pss_mode. `*out` is NULL with
   MW_PSS_OFF. */
int mw_pss_new(const mw_platform *platform, int32_t mode, mw_pss **out);

/* Sets the limit on the sum; 0: none. While `total` of mw_pss_offer() is above
   it, sweeps are made even without budget, for up to 10 % of the time. */
void mw_pss_set_limit(mw_pss *pss, uint64_t limit);

/* Returns whether the limit waits for a sum: one is being made for it, or the
   last exceeds it and another must agree. */
int mw_pss_is_urgent(const mw_pss *pss);

/* Begins a sweep over the processes of `table`, if the mode and the time budget
   call for one; to be called after each tick. `total` is the sum of resident
   sizes. Never waits for the current sweep. Returns 1 if it has begun one, else
   0, or once -errno: then no sums can be had here. */
int mw_pss_offer(mw_pss *pss, int64_t time, uint64_t total,
                 const mw_table *table);

/* Takes the result of a sweep that has ended since the last call: 1 and `*out`,
   an MW_PSS, else 0. Its time is that of the tick before the sweep. */
int mw_pss_take(mw_pss *pss, mw_observation *out);

/* Ends the thread once the process that is being read has been read. */
void mw_pss_free(mw_pss *pss);

#endif
