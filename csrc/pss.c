/*
 * When to sum proportional set sizes, of which processes, and the thread that
 * does it. One sweep reads the processes of the job once. The ticking thread
 * decides; a sweep belongs to the reading thread from the mw_pss_offer() that
 * begins it until `reading` is false again.
 *
 * Reading a process keeps its map of memory locked: it cannot map or unmap
 * meanwhile. So this is the part of memwatch that can hold up a job, and the
 * budget limits elapsed time, not CPU time. For the same reason the thread has
 * no lower priority than others: kept from running by busy processes it would
 * hold the lock while they wait for it. (On two busy CPUs one read of 200 MiB
 * took 35 ms at normal priority, and 900 ms at nice 19, in which the process
 * could map nothing.)
 */
#include "pss.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "grow.h"
#include "pss_sum.h"
#include "thread.h"

/* The part of the time that all sweeps may take, and the budget at the start,
   in ns: enough for some 300 MiB. */
static const double SHARE = 0.02;
static const double FIRST_ALLOWANCE = 5e6;

/* The budget that is not used is saved for at most this many sweeps, so that
   even after an idle hour they do not come all at once. */
static const double MOST_SAVED = 8;

/* While the total is above the limit, so that only a sum can tell whether the
   limit is exceeded, sweeps may take this part of the time, whatever the
   budget, and so many ns at once. */
static const double LIMIT_SHARE = 0.1;
static const double LIMIT_CREDIT = 200e6;

/* Sums begin when the total comes this close to the limit, 15 parts in 16, so
   that the first is there when it is exceeded; one for each step, as below. */
static const uint64_t EARLY_PART = 16;
static const double NO_BOUND = 1e300;

/* While the total is still rising by whole steps, a sweep may use this part of
   the budget: some must be left for the top. */
static const double RISING_SHARE = 0.25;

/* A process that takes longer than this is never read at new highs: for that
   long it might stand still, and mw_pss_free() wait. Some 15 GiB in small
   pages. */
static const double MOST_FOR_ONE = 250e6;

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

/* A high is new if it is higher by a MiB and by one part in STEP_PART. A
   smaller rise gets its sweep once the total holds still, but no more often
   than this. */
static const uint64_t MIB = 1 << 20;
static const uint64_t STEP_PART = 100;
static const int64_t SETTLING = 250000000;

typedef struct {
    uint64_t rss;
    mw_pss_part part;
    bool is_read; /* in this sweep */
    int32_t pid;
    int32_t ppid;    /* the process whose memory it may share; 0: none */
    bool too_costly; /* not to be read */
    bool missed;     /* does not count as covered by this sweep */
} mw_target;

/* One sweep. It belongs to the reading thread while it is under way. */
typedef struct {
    mw_target *targets;
    size_t count;
    size_t capacity;
    int64_t time;       /* of the tick */
    double budget;      /* ns that it may take */
    double took;        /* ns that it took */
    uint64_t covered;   /* resident sizes of processes that it has dealt with */
    uint64_t sum;       /* the result */
    uint64_t rss;       /* resident sizes of all that are in it */
    uint64_t by_rss;    /* processes counted by resident size */
    uint64_t footprint; /* see mw_pss_sum; of the processes that were read */
    int error;
    bool is_low;         /* see mw_pss_sum */
    bool works;          /* some process could be read, in any sweep */
    double process_cost; /* as measured so far */
    double mib_cost;
} mw_sweep;

struct mw_pss {
    const mw_platform *platform;
    bool always;
    uint64_t limit; /* 0: none */

    /* Of the ticking thread alone. */
    bool begun;
    bool under_way;
    bool has_result;
    bool failed;        /* there are no more sweeps */
    int error;          /* why, until it is returned */
    int64_t paid_up_to; /* the budget includes the time up to then */
    int64_t last_sweep;
    uint64_t covered; /* the most of the job that a sweep has dealt with */
    uint64_t tried;   /* what the last sweep was to deal with */
    uint64_t last_total;
    double budget;    /* ns; below 0 if a sweep took longer than expected */
    bool for_limit;   /* the sweep under way is, and not part of the budget */
    bool is_exceeded; /* by the last sum: another must agree */
    int64_t next_for_limit;
    int64_t credited_up_to;
    uint64_t early;      /* the total of the last sweep that began before the
                            limit; 0: none since it was far from it */
    double limit_credit; /* ns that such sweeps may take now */
    uint64_t proven;     /* the total up to which the last sum has shown that
                            the limit is not exceeded */
    mw_observation result;

    mw_sweep sweep;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool reading;
    bool stopping;
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
    p->platform = platform;
    p->always = mode == MW_PSS_ALWAYS;
    p->sweep.process_cost = FIRST_PROCESS_COST;
    p->sweep.mib_cost = FIRST_MIB_COST;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    *out = p;
    return 0;
}

void mw_pss_set_limit(mw_pss *p, uint64_t limit) {
    if (p)
        p->limit = limit;
}

/* --- the reading thread --- */

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

static int by_pid(const void *a, const void *b) {
    const mw_target *one = a, *other = b;
    return (one->pid > other->pid) - (one->pid < other->pid);
}

static int by_size(const void *a, const void *b) {
    const mw_target *one = a, *other = b;
    return (one->rss < other->rss) - (one->rss > other->rss);
}

/* Leaves the parent only of processes that have its very memory, where the
   parent is counted itself. */
static void find_shared(const mw_platform *platform, mw_sweep *sweep) {
    qsort(sweep->targets, sweep->count, sizeof *sweep->targets, by_pid);
    for (size_t i = 0; i < sweep->count; i++) {
        mw_target *target = &sweep->targets[i];
        mw_target parent = {.pid = target->ppid};
        if (target->ppid &&
            !(bsearch(&parent, sweep->targets, sweep->count, sizeof parent,
                      by_pid) &&
              mw_platform_shares_memory(platform, target->pid, target->ppid)))
            target->ppid = 0;
    }
}

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

/* Notes what each process holds before the first is read. One that has ended
   holds nothing. */
static void look_before(const mw_platform *platform, mw_sweep *sweep) {
    for (size_t i = 0; i < sweep->count; i++) {
        mw_target *target = &sweep->targets[i];
        if (!target->ppid && !target->too_costly &&
            mw_platform_memory(platform, target->pid, &target->part.before))
            target->part.before = (mw_memory){0};
    }
}

/* Adds up what was read. A process that has ended since has left its part of
   shared pages to the others, whose PSS may include it if they were read after
   that: it does not count. */
static void add_up(const mw_platform *platform, mw_sweep *sweep) {
    mw_pss_sum sum = {0};
    for (size_t i = 0; i < sweep->count; i++) {
        mw_target *target = &sweep->targets[i];
        if (!target->is_read)
            continue;
        if (mw_platform_memory(platform, target->pid, &target->part.after)) {
            sweep->rss -= target->rss;
            sweep->covered -= target->rss;
        } else {
            mw_pss_sum_add(&sum, &target->part);
        }
    }
    sweep->sum += mw_pss_sum_total(&sum);
    sweep->footprint = mw_pss_sum_footprint(&sum);
    sweep->is_low = sum.is_low != 0;
}

static bool is_stopping(mw_pss *p) {
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stopping;
}

static void sweep_all(mw_pss *p) {
    mw_sweep *sweep = &p->sweep;
    int64_t begin = mw_now(), now = begin;
    find_shared(p->platform, sweep);
    /* The largest first: they matter most, and change most. */
    qsort(sweep->targets, sweep->count, sizeof *sweep->targets, by_size);
    look_before(p->platform, sweep);
    now = mw_now();
    for (size_t i = 0; i < sweep->count && !sweep->error && !is_stopping(p);
         i++) {
        mw_target *target = &sweep->targets[i];
        sweep->rss += target->rss;
        if (target->ppid) {
            sweep->covered += target->rss;
        } else if (target->too_costly) {
            count_by_rss(sweep, target);
            sweep->covered += target->missed ? 0 : target->rss;
        } else if (!p->always &&
                   (double)(now - begin) + estimate(sweep, target->rss) >
                       sweep->budget) {
            /* Processes before it took longer than expected. */
            count_by_rss(sweep, target);
        } else {
            read_one(p->platform, sweep, target, &now);
        }
    }
    add_up(p->platform, sweep);
    sweep->took = (double)(mw_now() - begin);
}

static void *run(void *argument) {
    mw_pss *p = argument;
    mw_platform_name_thread("memwatch-pss");
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        if (!p->reading) {
            pthread_cond_wait(&p->wake, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        sweep_all(p);
        pthread_mutex_lock(&p->lock);
        p->reading = false;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- the ticking thread --- */

/* Hands the sweep to the reading thread: 1, 0 if that would mean to wait, or
   -errno. */
static int hand_over(mw_pss *p) {
    if (!p->has_thread) {
        p->reading = true;
        int error = mw_start_thread(&p->thread, run, p);
        p->has_thread = !error;
        return error ? error : 1;
    }
    if (pthread_mutex_trylock(&p->lock))
        return 0;
    p->reading = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return 1;
}

/* Lists the processes for a sweep that reads none of a higher cost than
   `limit`. */
static int list_targets(mw_pss *p, const mw_table *table, double limit) {
    mw_sweep *sweep = &p->sweep;
    void *targets = sweep->targets;
    int error = mw_grow(&targets, &sweep->capacity, table->count,
                        sizeof *sweep->targets, table->capacity);
    sweep->targets = targets;
    if (error)
        return error;
    sweep->count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const mw_slot *slot = &table->slots[i];
        if (slot->ended)
            continue;
        mw_target *target = &sweep->targets[sweep->count++];
        double cost = estimate(sweep, slot->rss);
        target->rss = slot->rss;
        target->is_read = false;
        target->pid = slot->pid;
        target->ppid = slot->inherited ? slot->ppid : 0;
        target->too_costly = !p->always && cost > limit;
        target->missed = target->too_costly && cost <= MOST_FOR_ONE;
    }
    return 0;
}

static int begin_sweep(mw_pss *p, int64_t time, const mw_table *table,
                       double limit) {
    mw_sweep *sweep = &p->sweep;
    int result = list_targets(p, table, limit);
    if (!result && sweep->count) {
        sweep->time = time;
        sweep->budget = p->for_limit ? NO_BOUND : p->budget;
        sweep->covered = sweep->sum = sweep->rss = sweep->by_rss = 0;
        result = hand_over(p);
    }
    p->under_way = result == 1;
    p->failed = result < 0;
    return result;
}

/* What a sweep would cost that reads no process of a higher cost than a limit,
   and how much of the job it would cover. Processes that are never read count
   as covered. */
typedef struct {
    double cost;
    uint64_t covered;
    size_t to_read;
} mw_plan;

static mw_plan make_plan(const mw_pss *p, const mw_table *table, double limit) {
    mw_plan plan = {0};
    for (size_t i = 0; i < table->count; i++) {
        const mw_slot *slot = &table->slots[i];
        if (slot->ended)
            continue;
        double cost = estimate(&p->sweep, slot->rss);
        if (cost <= limit) {
            plan.cost += cost;
            plan.to_read++;
        }
        if (cost <= limit || cost > MOST_FOR_ONE)
            plan.covered += slot->rss;
    }
    return plan;
}

static uint64_t step_above(uint64_t total) {
    uint64_t step = total / STEP_PART;
    return step > MIB ? step : MIB;
}

/* Adds to the budget for the time since the last call. */
static void pay_in(mw_pss *p, int64_t time, double cost_of_sweep) {
    if (time > p->paid_up_to)
        p->budget += (double)(time - p->paid_up_to) * SHARE;
    p->paid_up_to = time;
    double most = cost_of_sweep * MOST_SAVED;
    if (most < FIRST_ALLOWANCE)
        most = FIRST_ALLOWANCE;
    if (p->budget > most)
        p->budget = most;
}

/* Begins a sweep at a total higher than any that was covered, if it is due.
   Returns what mw_pss_offer() does. */
static int offer_high(mw_pss *p, int64_t time, bool holds_still,
                      const mw_table *table) {
    double limit = MOST_FOR_ONE;
    mw_plan plan = make_plan(p, table, limit);
    pay_in(p, time, plan.cost);
    double budget = holds_still ? p->budget : p->budget * RISING_SHARE;
    if (plan.cost > budget && holds_still && budget < limit) {
        /* Begin one without the processes that cost too much for now; they are
           read when the budget has grown. */
        limit = budget;
        plan = make_plan(p, table, limit);
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
    if (p->under_way) {
        p->tried = plan.covered;
        p->last_sweep = time;
    }
    return result;
}

/* Does what pay_in() does for the sweeps that the limit asks for. */
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
    int result = begin_sweep(p, time, table, NO_BOUND);
    p->for_limit = p->under_way;
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

/* Takes the result of a sweep that has ended. */
static void collect(mw_pss *p) {
    if (!p->under_way || pthread_mutex_trylock(&p->lock))
        return;
    p->under_way = p->reading;
    pthread_mutex_unlock(&p->lock);
    if (p->under_way)
        return;
    const mw_sweep *sweep = &p->sweep;
    if (sweep->error) {
        p->failed = true;
        p->error = sweep->error;
        return;
    }
    if (p->for_limit) {
        p->next_for_limit = sweep->time + (int64_t)(sweep->took / LIMIT_SHARE);
        p->limit_credit -= sweep->took;
    } else {
        p->budget -= sweep->took;
    }
    p->for_limit = false;
    p->is_exceeded = p->limit && !sweep->by_rss && sweep->sum > p->limit;
    p->proven = p->limit;
    if (!sweep->is_low && sweep->sum <= p->limit)
        p->proven = sweep->rss + p->limit - sweep->sum;
    if (sweep->covered > p->covered)
        p->covered = sweep->covered;
    p->result = (mw_observation){
        .kind = MW_PSS,
        .time = sweep->time,
        .process = sweep->rss,
        .value = sweep->sum,
        .second = sweep->by_rss,
        .third = sweep->footprint,
        .valid = (sweep->by_rss ? MW_TICK_PARTIAL : 0) |
                 (sweep->is_low ? MW_LOWER : 0),
    };
    p->has_result = true;
}

int mw_pss_offer(mw_pss *p, int64_t time, uint64_t total,
                 const mw_table *table) {
    if (!p)
        return 0;
    if (!p->begun) {
        p->begun = true;
        p->paid_up_to = p->last_sweep = time;
        p->budget = FIRST_ALLOWANCE;
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
    if (p->under_way)
        return 0;
    if (p->always)
        return begin_sweep(p, time, table, 0);
    pay_in_for_limit(p, time);
    if (p->limit && total > p->limit)
        return offer_for_limit(p, time, total, table);
    int begun = p->limit ? offer_early(p, time, total, table) : 0;
    if (begun)
        return begun;
    if (total <= p->covered)
        return 0;
    uint64_t change = total > before ? total - before : before - total;
    return offer_high(p, time, change < step_above(before), table);
}

int mw_pss_is_urgent(const mw_pss *p) {
    return p && !p->failed &&
           (p->is_exceeded || (p->under_way && p->for_limit));
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
    if (p->has_thread) {
        pthread_mutex_lock(&p->lock);
        p->stopping = true;
        pthread_cond_signal(&p->wake);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->sweep.targets);
    free(p);
}
