/*
 * One sweep over the processes of a job.
 *
 * Reading a process keeps its map of memory locked: it cannot map or unmap
 * meanwhile. So this is the part of memwatch that can hold up a job, and the
 * budget limits elapsed time, not CPU time. For the same reason the thread that
 * reads has no lower priority than others: kept from running by busy processes
 * it would hold the lock while they wait for it. (On two busy CPUs one read of
 * 200 MiB took 35 ms at normal priority, and 900 ms at nice 19, in which the
 * process could map nothing.)
 */
#include "pss_sweep.h"

#include <errno.h>
#include <stdlib.h>

#include "grow.h"

/* The estimated cost of a process until it is measured, in ns: to open its
   file, and to walk a MiB. Measured by benchmarks/pss_cost.py with cold caches:
   20 - 50 us, and 10 - 20 us per MiB in pages of 4 KiB (40 on a busy machine;
   0.1 in huge pages). */
static const double FIRST_PROCESS_COST = 40e3;
static const double FIRST_MIB_COST = 15e3;

/* Estimates are MARGIN times what was measured. A new measurement moves them by
   one part in SMOOTHING, and counts for at most MOST_SURPRISE times the
   estimate, because the thread may have been kept from running. */
static const double MARGIN = 1.25;
static const double SMOOTHING = 8;
static const double MOST_SURPRISE = 4;

static const uint64_t MIB = 1 << 20;

mw_sweep mw_sweep_new(void) {
    return (mw_sweep){
        .process_cost = FIRST_PROCESS_COST,
        .mib_cost = FIRST_MIB_COST,
    };
}

/* --- what it costs --- */

static double in_mib(uint64_t bytes) { return (double)bytes / (double)MIB; }

static double expected(const mw_sweep *sweep, uint64_t rss) {
    return sweep->process_cost + in_mib(rss) * sweep->mib_cost;
}

static double estimate(const mw_sweep *sweep, uint64_t rss) {
    return expected(sweep, rss) * MARGIN;
}

/* Corrects the estimates by a measurement: of the two costs, the one that is
   the larger part of this process's. */
static void learn(mw_sweep *sweep, uint64_t rss, double took) {
    double most = expected(sweep, rss) * MOST_SURPRISE;
    double surprise = (took < most ? took : most) - expected(sweep, rss);
    double mib = in_mib(rss);
    if (mib * sweep->mib_cost > sweep->process_cost)
        sweep->mib_cost += surprise / mib / SMOOTHING;
    else
        sweep->process_cost += surprise / SMOOTHING;
}

mw_plan mw_sweep_plan(const mw_sweep *sweep, const mw_table *table,
                      double limit) {
    mw_plan plan = {0};
    for (size_t i = 0; i < table->count; i++) {
        const mw_slot *slot = &table->slots[i];
        if (slot->ended)
            continue;
        double cost = estimate(sweep, slot->rss);
        if (cost <= limit) {
            plan.cost += cost;
            plan.to_read++;
        }
        if (cost <= limit || cost > MW_MOST_FOR_ONE)
            plan.covered += slot->rss;
    }
    return plan;
}

/* --- its processes --- */

static int list_targets(mw_sweep *sweep, const mw_table *table, double limit) {
    mw_targets *targets = &sweep->targets;
    void *items = targets->items;
    int error = mw_grow(&items, &targets->capacity, table->count,
                        sizeof *targets->items, table->capacity);
    targets->items = items;
    targets->count = 0;
    if (error)
        return error;
    for (size_t i = 0; i < table->count; i++) {
        const mw_slot *slot = &table->slots[i];
        if (slot->ended)
            continue;
        mw_target *target = &targets->items[targets->count++];
        double cost = estimate(sweep, slot->rss);
        target->rss = slot->rss;
        target->serial = slot->serial;
        target->is_read = target->is_kept = false;
        target->then = NULL;
        target->pid = slot->pid;
        target->ppid = slot->inherited ? slot->ppid : 0;
        target->too_costly = cost > limit;
        target->missed = target->too_costly && cost <= MW_MOST_FOR_ONE;
    }
    return 0;
}

int mw_sweep_begin(mw_sweep *sweep, const mw_table *table, int64_t time,
                   double budget, double limit, bool may_keep) {
    sweep->time = time;
    sweep->budget = budget;
    sweep->may_keep = may_keep;
    sweep->overran = false;
    sweep->covered = sweep->sum = sweep->rss = sweep->by_rss = 0;
    return list_targets(sweep, table, limit);
}

static int by_pid(const void *a, const void *b) {
    const mw_target *one = a, *other = b;
    return (one->pid > other->pid) - (one->pid < other->pid);
}

static int by_size(const void *a, const void *b) {
    const mw_target *one = a, *other = b;
    return (one->rss < other->rss) - (one->rss > other->rss);
}

static void sort(mw_targets *targets,
                 int (*order)(const void *, const void *)) {
    qsort(targets->items, targets->count, sizeof *targets->items, order);
}

/* Leaves the parent only of processes that have its very memory, where the
   parent is counted itself. The targets are sorted by pid. */
static void find_shared(const mw_platform *platform, mw_targets *targets) {
    for (size_t i = 0; i < targets->count; i++) {
        mw_target *target = &targets->items[i];
        mw_target parent = {.pid = target->ppid};
        if (target->ppid &&
            !(bsearch(&parent, targets->items, targets->count, sizeof parent,
                      by_pid) &&
              mw_platform_shares_memory(platform, target->pid, target->ppid)))
            target->ppid = 0;
    }
}

/* Notes what each process holds before the first is read. One that has ended
   holds nothing. */
static void look_before(const mw_platform *platform, mw_targets *targets) {
    for (size_t i = 0; i < targets->count; i++) {
        mw_target *target = &targets->items[i];
        if (target->ppid || target->too_costly)
            continue;
        if (mw_platform_memory(platform, target->pid, &target->part.before))
            target->part.before = (mw_memory){0};
        target->part.held = target->part.before;
    }
}

/* --- readings that are kept --- */

static void drop_kept(mw_sweep *sweep) { sweep->kept.count = 0; }

/* Returns whether readings of the last sweep may be used in this one: all of
   its processes are the same, and have only grown since. */
static bool may_use_kept(const mw_sweep *sweep) {
    const mw_targets *targets = &sweep->targets, *kept = &sweep->kept;
    bool may = sweep->may_keep && targets->count == kept->count;
    for (size_t i = 0; may && i < kept->count; i++) {
        const mw_target *then = &kept->items[i], *now = &targets->items[i];
        may = now->serial == then->serial && now->ppid == then->ppid &&
              (now->ppid ||
               mw_pss_has_only_grown(&then->part.before, &now->part.before));
    }
    return may;
}

/* Takes over the readings of processes that are unchanged. All stand still
   since the first of those readings, not only since this sweep began. */
static void use_kept(mw_sweep *sweep) {
    for (size_t i = 0; i < sweep->kept.count; i++) {
        const mw_pss_part *then = &sweep->kept.items[i].part;
        mw_target *now = &sweep->targets.items[i];
        now->part.before = then->before;
        now->then = then;
        if (now->ppid || !mw_pss_is_unchanged(&then->held, &now->part.held))
            continue;
        now->part.shares = then->shares;
        now->is_kept = true;
    }
}

/* Keeps the readings of this sweep if it has read all there is. Memory that was
   swapped out may come back to several processes: it does not stand still. */
static void keep(mw_sweep *sweep) {
    mw_targets *targets = &sweep->targets;
    drop_kept(sweep);
    if (sweep->by_rss || sweep->is_low || sweep->error)
        return;
    for (size_t i = 0; i < targets->count; i++) {
        const mw_target *target = &targets->items[i];
        if (!target->ppid && (!target->is_read || target->part.shares.swapped))
            return;
    }
    mw_targets kept = *targets;
    *targets = sweep->kept;
    sweep->kept = kept;
    sort(&sweep->kept, by_pid);
}

/* --- reading --- */

static void count_by_rss(mw_sweep *sweep, const mw_target *target) {
    sweep->sum += target->rss;
    sweep->by_rss++;
}

static void read_one(const mw_platform *platform, mw_sweep *sweep,
                     mw_target *target, int64_t *now) {
    mw_shares shares = {0};
    int error = mw_platform_pss(platform, target->pid, &shares);
    int64_t before = *now;
    *now = mw_now();
    if (!error) {
        sweep->works = true;
        learn(sweep, target->rss, (double)(*now - before));
        sweep->covered += target->rss;
        target->part.shares = shares;
        target->is_read = true;
    } else if (error == -ENOTSUP && !sweep->works) {
        sweep->error = error;
    } else if (error == -ESRCH || error == -ENOTSUP) {
        sweep->rss -= target->rss; /* it has ended */
    } else {
        count_by_rss(sweep, target);
        sweep->covered += target->rss;
    }
}

/* Reads a process, or counts it in another way. `now` is when the one before it
   was done. */
static void deal_with(const mw_platform *platform, mw_sweep *sweep,
                      mw_target *target, int64_t begin, int64_t *now) {
    double cost = estimate(sweep, target->rss);
    sweep->rss += target->rss;
    if (target->ppid || target->is_kept) {
        target->is_read = target->is_kept;
        sweep->covered += target->rss;
    } else if (target->too_costly) {
        count_by_rss(sweep, target);
        sweep->covered += target->missed ? 0 : target->rss;
    } else if ((double)(*now - begin) + cost > sweep->budget) {
        /* Processes before it took longer than expected. */
        sweep->overran = true;
        count_by_rss(sweep, target);
    } else {
        read_one(platform, sweep, target, now);
    }
}

/* Adds up what was read. A process that has ended since has left its part of
   shared pages to the others, whose PSS may include it if they were read after
   that: it does not count. What the job has grown by since the tick does not
   count either: the sum is reported beside the resident sizes of the tick, and
   is never above them. */
static void add_up(const mw_platform *platform, mw_sweep *sweep) {
    mw_pss_sum sum = {0};
    for (size_t i = 0; i < sweep->targets.count; i++) {
        mw_target *target = &sweep->targets.items[i];
        if (!target->is_read)
            continue;
        if (mw_platform_memory(platform, target->pid, &target->part.after)) {
            target->is_read = false;
            sweep->rss -= target->rss;
            sweep->covered -= target->rss;
        } else {
            mw_pss_sum_add(&sum, &target->part);
            sum.is_low |= target->then &&
                          !mw_pss_has_grown_alone(target->then, &target->part);
        }
    }
    sweep->sum += mw_pss_sum_total(&sum);
    if (sweep->sum > sweep->rss)
        sweep->sum = sweep->rss;
    sweep->footprint = mw_pss_sum_footprint(&sum);
    sweep->is_low = sum.is_low != 0;
}

void mw_sweep_run(mw_sweep *sweep, const mw_platform *platform,
                  bool (*stops)(void *), void *context) {
    mw_targets *targets = &sweep->targets;
    int64_t begin = mw_now();
    sort(targets, by_pid);
    find_shared(platform, targets);
    look_before(platform, targets);
    if (may_use_kept(sweep))
        use_kept(sweep);
    /* The largest first: they matter most, and change most. */
    sort(targets, by_size);
    int64_t now = mw_now();
    for (size_t i = 0; i < targets->count && !sweep->error && !stops(context);
         i++)
        deal_with(platform, sweep, &targets->items[i], begin, &now);
    add_up(platform, sweep);
    keep(sweep);
    sweep->took = (double)(mw_now() - begin);
}

void mw_sweep_free(mw_sweep *sweep) {
    free(sweep->targets.items);
    free(sweep->kept.items);
}
