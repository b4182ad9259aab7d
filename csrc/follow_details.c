/*
 * Details of a process that bound what the job holds of its own: page faults,
 * shared memory, swap, huge pages. To read them costs as much as ten readings,
 * so they are read while the total is near its highest, for a small part of the
 * time: those of all processes at one tick, or of none, because only all of
 * them bound the total.
 */
#include "follow_parts.h"

#include <errno.h>

/* While the total is below this part of the highest, half of the credit is kept
   for what is above. */
enum { NEAR_PARTS = 3, ALL_PARTS = 4 };

/* Details may take 1 part in 100 of the time, and as much as this at once. One
   process takes 18 to 30 us: to open and read `status` and `stat`. So does
   `vmstat`, once a tick. */
static const int64_t SHARE = 100;
static const int64_t MOST_CREDIT = 5000000;
static const int64_t COST = 30000;

/* Less than this does not matter to a total. */
static const uint64_t MIB = 1 << 20;

/* Returns what the details of as many processes as at the last tick cost, or of
   as many as can be afforded at all. */
static int64_t expected_cost(const mw_details *details) {
    int64_t most = (MOST_CREDIT - details->reserve) / COST;
    int64_t wanted = (int64_t)details->wanted;
    return COST * (wanted < most ? wanted : most);
}

void mw_begin_details(mw_follower *f, int64_t time) {
    mw_details *details = &f->details;
    if (!details->credit.from)
        details->huge_before = mw_platform_huge_faults(f->platform);
    mw_credit_add(&details->credit, time, SHARE, MOST_CREDIT);
    if (f->total > details->highest)
        details->highest = f->total;
    int is_near = f->total / NEAR_PARTS >= details->highest / ALL_PARTS;
    details->reserve = is_near ? 0 : MOST_CREDIT / 2;
    details->is_affordable =
        details->credit.left >= details->reserve + expected_cost(details);
    details->wanted = 0;
    details->missed = details->skipped = details->has_faults = 0;
}

static int differs(uint64_t one, uint64_t other) {
    return (one > other ? one - other : other - one) >= MIB;
}

int mw_wants_details(mw_follower *f, const mw_slot *slot,
                     const mw_reading *reading) {
    if (!(reading->valid & MW_HAS_SHARED))
        return 0;
    mw_details *details = &f->details;
    int may_share_pages =
        (slot->inherited || slot->has_forks) &&
        (reading->rss - reading->shared >= MIB || slot->has_faults);
    /* What it has forked has executed something since, or has ended. */
    details->skipped |= may_share_pages && !details->has_family;
    if (!(may_share_pages && details->has_family) &&
        !differs(reading->shared, slot->parts_shared) &&
        !differs(reading->size, slot->parts_size))
        return 0;
    details->wanted++;
    if (!details->is_affordable ||
        details->credit.left < details->reserve + COST) {
        details->missed = 1;
        return 0;
    }
    details->credit.left -= COST;
    return 1;
}

static int report_faults(mw_follower *f, const mw_slot *slot, int64_t time,
                         uint64_t bytes) {
    mw_observation *record = mw_observe(f, time, MW_FAULTS, slot);
    if (!record)
        return -ENOMEM;
    record->value = bytes;
    record->valid = MW_HAS_FAULTS;
    return 0;
}

int mw_report_faults(mw_follower *f, mw_slot *slot, int64_t time,
                     uint64_t faults) {
    /* Faults say nothing where one may give any number of pages. */
    if (f->details.huge_before == MW_ANY_SIZE ||
        (slot->has_faults && faults == slot->faults_reported))
        return 0;
    slot->has_faults = 1;
    slot->faults_reported = faults;
    f->details.has_faults = 1;
    return report_faults(f, slot, time, faults * mw_platform_page(f->platform));
}

static int report_parts(mw_follower *f, mw_slot *slot, int64_t time,
                        const mw_parts *parts) {
    if (parts->shmem == slot->parts.shmem &&
        parts->swapped == slot->parts.swapped &&
        parts->huge == slot->parts.huge)
        return 0;
    mw_observation *record = mw_observe(f, time, MW_PARTS, slot);
    if (!record)
        return -ENOMEM;
    record->value = parts->shmem;
    record->second = parts->swapped;
    record->third = parts->huge;
    slot->parts = *parts;
    return 0;
}

int mw_report_details(mw_follower *f, mw_slot *slot, int64_t time,
                      const mw_reading *reading, const mw_inspection *seen) {
    int error = 0;
    if ((seen->valid & MW_HAS_FAULTS) && (slot->inherited || slot->has_forks))
        error = mw_report_faults(f, slot, time, seen->faults);
    if (error || !seen->has_parts)
        return error;
    slot->parts_shared = reading->shared;
    slot->parts_size = reading->size;
    return report_parts(f, slot, time, &seen->parts);
}

static int has_family(const mw_table *table) {
    for (size_t i = 0; i < table->count; i++)
        if (table->slots[i].inherited && !table->slots[i].ended)
            return 1;
    return 0;
}

int mw_end_details(mw_follower *f, int64_t time, uint32_t *flags) {
    mw_details *details = &f->details;
    /* A process may have been skipped before the one that it forked was seen.
     */
    details->missed |= details->skipped && details->has_family;
    if (f->has_shared && !details->missed)
        *flags |= MW_TICK_DETAILED;
    details->has_family = details->missed || has_family(&f->table);
    if (!details->has_faults)
        return 0;
    uint64_t now = mw_platform_huge_faults(f->platform);
    if (now < details->huge_before || !now)
        return 0; /* there are none, or they could not be read */
    details->credit.left -= COST;
    uint64_t huge = now - details->huge_before;
    if (huge == details->huge)
        return 0;
    details->huge = huge;
    return report_faults(f, NULL, time, huge);
}
