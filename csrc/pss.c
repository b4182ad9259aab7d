/*
 * When to sum proportional set sizes, and of which processes. One sweep reads
 * the processes of the job once; pss_reader.c makes it in a thread of its own.
 */
#include "pss.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "pss_budget.h"
#include "pss_reader.h"

/* While the total is above the limit, so that only a sum can tell whether the
   limit is exceeded, sweeps may take this part of the time, whatever the
   budget, and so many ns at once. */
static const double LIMIT_SHARE = 0.1;
static const double LIMIT_CREDIT = 200e6;

/* Sums begin when the total comes this close to the limit, 15 parts in 16, so
   that the first is there when it is exceeded; one for each step, as below. */
static const uint64_t EARLY_PART = 16;

/* While the total is still rising by whole steps, a sweep may use this part of
   the budget: some must be left for the top. */
static const double RISING_SHARE = 0.25;

/* A high is new if it is higher by a MiB and by one part in STEP_PART. A
   smaller rise gets its sweep once the total holds still, but no more often
   than this. */
static const uint64_t MIB = 1 << 20;
static const uint64_t STEP_PART = 100;
static const int64_t SETTLING = 250000000;

/* At a total that was covered there must be enough budget for this many sweeps
   before one is made again: then a new high still gets its own. So it must be
   after a sweep that took longer than expected and was cut short: what that
   took is lost. */
static const double RESERVE = 2;

struct mw_pss {
    bool always;
    uint64_t limit; /* 0: none */
    bool begun;
    bool has_result;
    bool failed;   /* there are no more sweeps */
    int error;     /* why, until it is returned */
    int64_t begin; /* the time of the first tick */
    int64_t last_sweep;
    uint64_t covered; /* the most of the job that a sweep has dealt with */
    uint64_t tried;   /* what the last sweep was to deal with */
    uint64_t last_total;
    uint64_t top;       /* the highest total at which a sweep was begun */
    uint64_t most;      /* the highest sum so far */
    int64_t next_again; /* when a sweep may be repeated, at the earliest */
    bool is_again;      /* the sweep under way is such a one */
    bool was_low;       /* the last sum was */
    mw_pss_budget budget;
    bool for_limit;   /* the sweep under way is, and not part of the budget */
    bool is_exceeded; /* by the last sum: another must agree */
    int64_t next_for_limit;
    int64_t credited_up_to;
    uint64_t early;        /* the total of the last sweep that began before the
                              limit; 0: none since it was far from it */
    double limit_credit;   /* ns that such sweeps may take now */
    uint64_t proven;       /* the total up to which the last sum has shown that
                              the limit is not exceeded */
    mw_observation result; /* the last that was, or is to be, reported */
    mw_pss_reader reader;
};

int mw_pss_new(const mw_platform *platform, int32_t mode, mw_pss **out) {
    *out = NULL;
    if (mode == MW_PSS_OFF)
        return 0;
    if (mode != MW_PSS_PEAKS && mode != MW_PSS_ALWAYS)
        return -EINVAL;
    mw_pss *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->always = mode == MW_PSS_ALWAYS;
    mw_pss_reader_begin(&p->reader, platform);
    *out = p;
    return 0;
}

void mw_pss_set_limit(mw_pss *p, uint64_t limit) {
    if (p)
        p->limit = limit;
}

/* Begins a sweep that reads no process of a higher cost than `limit`. Returns
   what mw_pss_offer() does. */
static int begin_sweep(mw_pss *p, int64_t time, const mw_table *table,
                       double limit) {
    double budget = p->for_limit || p->always ? MW_NO_BOUND : p->budget.left;
    mw_sweep *sweep = &p->reader.sweep;
    bool may_keep = !p->for_limit && !p->always;
    int result = mw_sweep_begin(sweep, table, time, budget, limit, may_keep);
    if (!result && sweep->targets.count)
        result = mw_pss_reader_sweep(&p->reader);
    p->failed = result < 0;
    p->is_again = false;
    if (p->reader.under_way && p->last_total > p->top)
        p->top = p->last_total;
    return result;
}

static uint64_t step_above(uint64_t total) {
    uint64_t step = total / STEP_PART;
    return step > MIB ? step : MIB;
}

/* Begins a sweep at a total higher than any that was covered, if it is due.
   Returns what mw_pss_offer() does. */
static int offer_high(mw_pss *p, int64_t time, bool holds_still,
                      const mw_table *table) {
    double limit = MW_MOST_FOR_ONE;
    mw_plan plan = mw_sweep_plan(&p->reader.sweep, table, limit);
    mw_pss_pay_in(&p->budget, time - p->begin, plan.cost);
    double budget = p->budget.left * (holds_still ? 1 : RISING_SHARE);
    if (p->reader.sweep.overran)
        budget /= RESERVE;
    if (plan.cost > budget && holds_still && budget < limit) {
        /* Begin one without the processes that cost too much for now; they are
           read when the budget has grown. */
        limit = budget;
        plan = mw_sweep_plan(&p->reader.sweep, table, limit);
    }
    bool soon = time - p->last_sweep < SETTLING;
    /* A sweep in which processes ended before they were read is not repeated at
       once. */
    uint64_t base = soon && p->tried > p->covered ? p->tried : p->covered;
    if (plan.cost > budget || !plan.to_read || plan.covered <= base)
        return 0;
    if (base && plan.covered - base < step_above(base) &&
        (soon || !holds_still))
        return 0;
    int result = begin_sweep(p, time, table, limit);
    if (p->reader.under_way) {
        p->tried = plan.covered;
        p->last_sweep = time;
        p->next_again = time + SETTLING;
    }
    return result;
}

/* Returns whether a sum at this total may be higher than all before. A sum in
   which something was missing may be. */
static bool may_be_higher(const mw_pss *p, uint64_t total) {
    return p->was_low || total > p->most + step_above(p->most);
}

/* Begins a sweep at a total that was covered before, if it is due: pages that
   forked processes share become private when one of them writes, and the total
   does not change. Far below the highest total that is so only when no more
   budget can be saved. Returns what mw_pss_offer() does. */
static int offer_again(mw_pss *p, int64_t time, uint64_t total,
                       const mw_table *table) {
    if (time < p->next_again || !may_be_higher(p, total))
        return 0;
    p->next_again = time + SETTLING;
    mw_plan plan = mw_sweep_plan(&p->reader.sweep, table, MW_MOST_FOR_ONE);
    mw_pss_pay_in(&p->budget, time - p->begin, plan.cost);
    bool is_top = total + step_above(p->top) > p->top;
    if (!plan.to_read || plan.cost * RESERVE > p->budget.left ||
        !(is_top || p->budget.is_full))
        return 0;
    int result = begin_sweep(p, time, table, MW_MOST_FOR_ONE);
    p->is_again = p->reader.under_way;
    return result;
}

/* Does what mw_pss_pay_in() does for the sweeps that the limit asks for. */
static void pay_in_for_limit(mw_pss *p, int64_t time) {
    if (time > p->credited_up_to)
        p->limit_credit += (double)(time - p->credited_up_to) * LIMIT_SHARE;
    p->credited_up_to = time;
    if (p->limit_credit > LIMIT_CREDIT)
        p->limit_credit = LIMIT_CREDIT;
}

/* Begins a sweep of all processes, whatever the budget. */
static int begin_for_limit(mw_pss *p, int64_t time, const mw_table *table) {
    p->for_limit = true;
    int result = begin_sweep(p, time, table, MW_NO_BOUND);
    p->for_limit = p->reader.under_way;
    return result;
}

/* Begins a sweep that the limit asks for, if it is due: at once when the total
   is more than the last sum has proven, or when that sum exceeds the limit and
   another must agree; and now and then, because pages that were shared may not
   be any more. Returns what mw_pss_offer() does. */
static int offer_for_limit(mw_pss *p, int64_t time, uint64_t total,
                           const mw_table *table) {
    int is_unproven = total > p->proven && p->limit_credit > 0;
    if (!p->is_exceeded && !is_unproven && time < p->next_for_limit)
        return 0;
    return begin_for_limit(p, time, table);
}

/* Begins a sweep for a total that rises to just below the limit, if it is due.
   Returns what mw_pss_offer() does. */
static int offer_early(mw_pss *p, int64_t time, uint64_t total,
                       const mw_table *table) {
    if (total <= p->limit - p->limit / EARLY_PART) {
        p->early = 0;
        return 0;
    }
    if (p->limit_credit <= 0 ||
        (p->early && total < p->early + step_above(p->early)))
        return 0;
    p->early = total;
    return begin_for_limit(p, time, table);
}

static bool is_near(uint64_t one, uint64_t other) {
    uint64_t least = one < other ? one : other;
    return one + other - 2 * least < step_above(least);
}

/* Returns whether two sums say the same. */
static bool is_same(const mw_observation *one, const mw_observation *other) {
    return one->valid == other->valid &&
           is_near(one->process, other->process) &&
           is_near(one->value, other->value) &&
           is_near(one->third, other->third);
}

/* Sets the result, unless it only repeats the last: then nothing is recorded.
   A limit needs each. */
static void set_result(mw_pss *p, const mw_observation *result) {
    if (p->is_again && !p->limit && is_same(&p->result, result))
        return;
    p->result = *result;
    p->has_result = true;
}

/* Takes the result of a sweep that has ended. */
static void collect(mw_pss *p) {
    const mw_sweep *sweep = &p->reader.sweep;
    if (!mw_pss_reader_has_ended(&p->reader))
        return;
    if (sweep->error) {
        p->failed = true;
        p->error = sweep->error;
        return;
    }
    if (p->for_limit) {
        p->next_for_limit = sweep->time + (int64_t)(sweep->took / LIMIT_SHARE);
        p->limit_credit -= sweep->took;
    } else {
        p->budget.left -= sweep->took;
    }
    p->for_limit = false;
    p->is_exceeded = p->limit && !sweep->by_rss && sweep->sum > p->limit;
    p->proven = p->limit;
    if (!sweep->is_low && sweep->sum <= p->limit)
        p->proven = sweep->rss + p->limit - sweep->sum;
    if (sweep->covered > p->covered)
        p->covered = sweep->covered;
    p->was_low = sweep->is_low;
    if (!sweep->by_rss && sweep->sum > p->most)
        p->most = sweep->sum;
    mw_observation result = {
        .kind = MW_PSS,
        .time = sweep->time,
        .process = sweep->rss,
        .value = sweep->sum,
        .second = sweep->by_rss,
        .third = sweep->footprint,
        .valid = (sweep->by_rss ? MW_TICK_PARTIAL : 0) |
                 (sweep->is_low ? MW_LOWER : 0),
    };
    set_result(p, &result);
}

int mw_pss_offer(mw_pss *p, int64_t time, uint64_t total,
                 const mw_table *table) {
    if (!p)
        return 0;
    if (!p->begun) {
        p->begun = true;
        p->begin = p->last_sweep = time;
        p->limit_credit = LIMIT_CREDIT;
        p->credited_up_to = time;
        p->proven = p->limit;
    }
    uint64_t before = p->last_total;
    p->last_total = total;
    collect(p);
    if (p->failed) {
        int error = p->error;
        p->error = 0;
        return error;
    }
    if (p->reader.under_way)
        return 0;
    if (p->always)
        return begin_sweep(p, time, table, MW_NO_BOUND);
    pay_in_for_limit(p, time);
    if (p->limit && total > p->limit)
        return offer_for_limit(p, time, total, table);
    int begun = p->limit ? offer_early(p, time, total, table) : 0;
    if (begun)
        return begun;
    if (total <= p->covered)
        return offer_again(p, time, total, table);
    uint64_t change = total > before ? total - before : before - total;
    return offer_high(p, time, change < step_above(before), table);
}

int mw_pss_is_urgent(const mw_pss *p) {
    return p && !p->failed &&
           (p->is_exceeded || (p->reader.under_way && p->for_limit));
}

int mw_pss_take(mw_pss *p, mw_observation *out) {
    if (!p)
        return 0;
    collect(p);
    if (!p->has_result)
        return 0;
    *out = p->result;
    p->has_result = false;
    return 1;
}

void mw_pss_free(mw_pss *p) {
    if (!p)
        return;
    mw_pss_reader_end(&p->reader);
    free(p);
}
