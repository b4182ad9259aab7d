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

/* Returns by how much two sizes differ. */
static uint64_t change(uint64_t one, uint64_t other) {
    return fall(one, other) + fall(other, one);
}

/* Returns how many page faults the new anonymous memory needs. */
static uint64_t needed(const mw_memory *before, const mw_memory *now) {
    return fall(anonymous(now), anonymous(before)) / MW_SMALLEST_PAGE;
}

static int stands_still(const mw_pss_part *part) {
    const mw_memory *before = &part->before, *after = &part->after;
    uint64_t faults = fall(after->faults, before->faults);
    return change(before->shared, after->shared) <= MOST_CHANGE &&
           fall(faults, needed(before, after)) <= MOST_FAULTS;
}

int mw_pss_has_only_grown(const mw_memory *before, const mw_memory *now) {
    uint64_t faults = fall(now->faults, before->faults);
    /* Fewer faults than pages are huge pages: they could hide others. */
    return now->faults && change(before->shared, now->shared) <= MOST_CHANGE &&
           fall(anonymous(before), anonymous(now)) <= MOST_CHANGE &&
           change(faults, needed(before, now)) <= MOST_FAULTS;
}

int mw_pss_is_unchanged(const mw_memory *before, const mw_memory *now) {
    return now->rss == before->rss && now->shared == before->shared &&
           now->faults == before->faults;
}

int mw_pss_has_grown_alone(const mw_pss_part *then, const mw_pss_part *now) {
    const mw_shares *one = &then->shares, *other = &now->shares;
    uint64_t before = anonymous(&then->held), after = anonymous(&now->held);
    return change(one->anonymous + after, other->anonymous + before) <=
               MOST_CHANGE &&
           change(one->pss + other->anonymous, other->pss + one->anonymous) <=
               MOST_CHANGE;
}

void mw_pss_sum_add(mw_pss_sum *sum, const mw_pss_part *part) {
    uint64_t lost = fall(anonymous(&part->held), anonymous(&part->after));
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
