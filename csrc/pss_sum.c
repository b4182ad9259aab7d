/* Adds up proportional set sizes. */
#include "pss_sum.h"

/* Mappings stand still if the resident part of files and shared memory changes
   by no more than this, and if at most this many page faults are not explained
   by new anonymous memory: what is unmapped and mapped again needs one for each
   16 pages. The system counts sizes in batches of some 32 pages. */
static const uint64_t MOST_CHANGE = 256 << 10;
static const uint64_t MOST_FAULTS = 64;

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Returns by how much `now` is below `before`. */
static uint64_t fall(uint64_t before, uint64_t now) {
    return before > now ? before - now : 0;
}

static uint64_t anonymous(const mw_memory *memory) {
    return fall(memory->rss, memory->shared);
}

static int stands_still(const mw_pss_part *part) {
    const mw_memory *before = &part->before, *after = &part->after;
    uint64_t change = fall(before->shared, after->shared) +
                      fall(after->shared, before->shared);
    uint64_t grown = fall(anonymous(after), anonymous(before));
    uint64_t faults = fall(after->faults, before->faults);
    return change <= MOST_CHANGE &&
           fall(faults, grown / MW_SMALLEST_PAGE) <= MOST_FAULTS;
}

void mw_pss_sum_add(mw_pss_sum *sum, const mw_pss_part *part) {
    uint64_t lost = fall(anonymous(&part->before), anonymous(&part->after));
    if (lost <= MOST_CHANGE)
        lost = 0;
    /* What it has freed may be what was counted, and another's part now. */
    uint64_t own = fall(part->shares.anonymous, lost);
    sum->own += least(own, anonymous(&part->after) + MOST_CHANGE);
    uint64_t shared = least(fall(part->shares.pss, part->shares.anonymous),
                            part->after.shared + MOST_CHANGE);
    uint64_t shmem = least(part->shares.shmem, shared);
    sum->beside += part->shares.swapped + part->shares.huge;
    if (shmem > sum->largest_shmem)
        sum->largest_shmem = shmem;
    if (stands_still(part)) {
        sum->steady += shared;
        sum->steady_shmem += shmem;
    } else if (shared > MOST_CHANGE)
        sum->is_low = 1;
    if (lost)
        sum->is_low = 1;
    if (shared > sum->largest)
        sum->largest = shared;
}

uint64_t mw_pss_sum_footprint(const mw_pss_sum *sum) {
    return sum->own + sum->beside +
           (sum->largest_shmem > sum->steady_shmem ? sum->largest_shmem
                                                   : sum->steady_shmem);
}

uint64_t mw_pss_sum_total(const mw_pss_sum *sum) {
    return sum->own + (sum->largest > sum->steady ? sum->largest : sum->steady);
}
