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
 *
 * Anonymous pages move between processes only when one forks. A process that is
 * in the sum since before the first reading can only lose such a page; what it
 * has anew is its own alone. So of a page that n of them hold in the end, each
 * has counted one part in n at most, and of what a process has counted and
 * freed, no more is left than it has got anew since.
 *
 * All of this holds however long ago a reading was made, so it may be kept from
 * one sum to the next and used again, if since the first of those readings
 * - the same processes are in the sum, so that none has forked another of them;
 * - the mappings of all of them, read anew or not, have stood still.
 * Then the sum is not above what they held at once. It is not too low either if
 * nobody has freed or copied anonymous pages, because then those that share
 * them have as much as before: each process has only grown, by memory that is
 * its own alone, or nothing.
 *
 * Two exceptions cannot be seen here: pages that the system merges (KSM); and
 * several processes that all grow before they are read and, within the same
 * sum, free as much that they share (in one of some five million random sums).
 */
#ifndef MW_PSS_SUM_H
#define MW_PSS_SUM_H

#include "platform.h"

/* One process: what it held before the first reading in the sum, before its own
   reading, and after the last. */
typedef struct mw_pss_part {
    mw_memory before;
    mw_memory held;
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

/* Returns whether a process can only have grown, page by page: its mappings are
   as they were, and so is what it shares with others. Not so where its page
   faults are not known. */
int mw_pss_has_only_grown(const mw_memory *before, const mw_memory *now);

/* Returns whether it has not even grown, to the page and the page fault. */
int mw_pss_is_unchanged(const mw_memory *before, const mw_memory *now);

/* Returns whether two readings of a process differ by what it has grown, and no
   more. If not, it has got other pages for some that it had shared. */
int mw_pss_has_grown_alone(const mw_pss_part *then, const mw_pss_part *now);

void mw_pss_sum_add(mw_pss_sum *sum, const mw_pss_part *part);

/* Returns the sum in bytes. */
uint64_t mw_pss_sum_total(const mw_pss_sum *sum);

/* Returns the sum of what the kernel cannot simply drop: without files, and
   with swap and huge pages. Never above what the processes held at once. */
uint64_t mw_pss_sum_footprint(const mw_pss_sum *sum);

#endif
