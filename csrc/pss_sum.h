/*
 * Adds up the proportional set sizes of processes that were read one after the
 * other, so that the sum is never above what all of them held at once. Pure.
 *
 * Memory that moves from one process to another between two readings would
 * count twice: a shared mapping counts in full for a process that has it alone,
 * and again for the next one that has it alone. So mapped files and shared
 * memory count only for processes whose mappings stood still from the first
 * reading to the last: of a page that n of them map all the time, each counts
 * one part in n at most. Where that is not all of it, the sum is a lower bound.
 */
#ifndef MW_PSS_SUM_H
#define MW_PSS_SUM_H

#include "platform.h"

/* One process: what it held before the first reading of the sweep, its own
   reading, and what it held after the last. */
typedef struct mw_pss_part {
    mw_memory before;
    mw_memory after;
    mw_shares shares;
} mw_pss_part;

/* All zero is an empty sum. */
typedef struct mw_pss_sum {
    uint64_t own;     /* anonymous memory */
    uint64_t steady;  /* files and shared memory whose mappings stood still */
    uint64_t largest; /* the most of such memory in one process */
    uint64_t beside;  /* swap and huge pages, which are in no resident size */
    uint64_t steady_shmem; /* as `steady` and `largest`, without files */
    uint64_t largest_shmem;
    int is_low; /* something may be missing */
} mw_pss_sum;

void mw_pss_sum_add(mw_pss_sum *sum, const mw_pss_part *part);

/* Returns the sum in bytes. */
uint64_t mw_pss_sum_total(const mw_pss_sum *sum);

/* Returns the sum of what the kernel cannot simply drop: without files, and
   with swap and huge pages. Never above what the processes held at once. */
uint64_t mw_pss_sum_footprint(const mw_pss_sum *sum);

#endif
