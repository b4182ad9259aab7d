/*
 * When to sum proportional set sizes, of which processes, and the thread that
 * does. The ticking thread decides; a pass belongs to the other thread from
 * mw_pss_offer() that begins it until the `reading` flag is gone.
 *
 * Reading a process keeps its map of memory locked: it cannot map or unmap
 * meanwhile. So this is the part of memwatch that can hold up a job, and what
 * the budget limits is the time that passes, not CPU time. For the same reason
 * the thread has no lower priority than others: pushed aside by busy processes
 * it would keep the lock, and they would wait for it, each for the other. (On
 * two busy CPUs one read of 200 MiB took 35 ms as it is, and 900 ms at nice 19,
 * in which the process could map nothing.)
 */
#include "pss.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

/* Part of the time that passes may take in all, and what they have to begin
   with, in ns: enough for some 300 MiB. */
static const double SHARE = 0.02;
static const double FIRST_ALLOWANCE = 5e6;

/* What is not used of the budget is kept for later, but for no more than so
   many passes: after an idle hour, too, they come one at a time. */
static const double MOST_SAVED = 8;

/* While the total is still rising by whole steps a pass may use this part of
   what there is: something must be left for the top. */
static const double RISING_SHARE = 0.25;

/* A process that takes longer than this is never read at new highs: that long
   it may stand still, and mw_pss_free() wait. Some 15 GiB in small pages. */
static const double MOST_FOR_ONE = 250e6;

/* What a process costs, in ns, until measured: to open its file, and to walk a
   MiB. Measured by benchmarks/pss_cost.py with cold caches: 20 - 50 us, and 10
   to 20 us per MiB in pages of 4 KiB (40 on a busy machine; in huge pages
   0.1). */
static const double FIRST_PROCESS_COST = 40e3;
static const double FIRST_MIB_COST = 15e3;

/* Estimates are this much above what was measured, and follow a new measurement
   by one in so many, as if it were no more than so many times the estimate: the
   thread may have been made to wait. */
static const double MARGIN = 1.25;
static const double SMOOTHING = 8;
static const double MOST_SURPRISE = 4;

/* A high is new when it is higher by a MiB and by this part. One that is less
   above gets its pass when the total holds still, but only so often. */
static const uint64_t MIB = 1 << 20;
static const uint64_t STEP_PART = 100;
static const int64_t SETTLING = 250000000;

typedef struct {
    uint64_t rss;
    uint64_t pss; /* as read in this pass; 0: it was not, or is gone */
    int32_t pid;
    int32_t ppid;  /* whose memory it may have as its own; 0: nobody's */
    bool too_dear; /* not to be read */
    bool missed;   /* does not count as covered by this pass */
} mw_target;

/* One pass; the reading thread's while it is under way. */
typedef struct {
    mw_target *targets;
    size_t count;
    size_t capacity;
    int64_t time;     /* of the tick */
    double budget;    /* ns that it may take */
    double took;      /* ns that it took */
    uint64_t covered; /* resident sizes of the processes it has dealt with */
    uint64_t sum;     /* the result */
    uint64_t rss;     /* resident sizes of all that are in it */
    uint64_t by_rss;  /* processes counted by resident size */
    int error;
    bool works;          /* some process could be read at some time */
    double process_cost; /* as measured so far */
    double mib_cost;
} mw_pass;

struct mw_pss {
    const mw_platform *platform;
    bool always;

    /* The ticking thread's own. */
    bool begun;
    bool under_way;
    bool has_result;
    bool failed;        /* there are no more passes */
    int error;          /* why, until told */
    int64_t paid_up_to; /* the budget holds what came in until then */
    int64_t last_pass;
    uint64_t covered; /* as much of the job as a pass has ever dealt with */
    uint64_t tried;   /* as much as the last one meant to */
    uint64_t last_total;
    double budget; /* ns; below 0 when a pass took longer than expected */
    mw_observation result;

    mw_pass pass;

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
    p->pass.process_cost = FIRST_PROCESS_COST;
    p->pass.mib_cost = FIRST_MIB_COST;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    *out = p;
    return 0;
}

/* --- the reading thread --- */

static double in_mib(uint64_t bytes) { return (double)bytes / (double)MIB; }

static double expected(const mw_pass *pass, uint64_t rss) {
    return pass->process_cost + in_mib(rss) * pass->mib_cost;
}

static double estimate(const mw_pass *pass, uint64_t rss) {
    return expected(pass, rss) * MARGIN;
}

/* What is the larger part of the cost is what a measurement tells about. */
static void learn(mw_pass *pass, uint64_t rss, double took) {
    double most = expected(pass, rss) * MOST_SURPRISE;
    double surprise = (took < most ? took : most) - expected(pass, rss);
    double mib = in_mib(rss);
    if (mib * pass->mib_cost > pass->process_cost)
        pass->mib_cost += surprise / mib / SMOOTHING;
    else
        pass->process_cost += surprise / SMOOTHING;
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
static void find_shared(const mw_platform *platform, mw_pass *pass) {
    qsort(pass->targets, pass->count, sizeof *pass->targets, by_pid);
    for (size_t i = 0; i < pass->count; i++) {
        mw_target *target = &pass->targets[i];
        mw_target parent = {.pid = target->ppid};
        if (target->ppid &&
            !(bsearch(&parent, pass->targets, pass->count, sizeof parent,
                      by_pid) &&
              mw_platform_shares_memory(platform, target->pid, target->ppid)))
            target->ppid = 0;
    }
}

static void count_by_rss(mw_pass *pass, const mw_target *target) {
    pass->sum += target->rss;
    pass->by_rss++;
}

static void read_one(const mw_platform *platform, mw_pass *pass,
                     mw_target *target, int64_t *now) {
    uint64_t pss = 0;
    int error = mw_platform_pss(platform, target->pid, &pss);
    int64_t before = *now;
    *now = mw_now();
    if (!error) {
        pass->works = true;
        learn(pass, target->rss, (double)(*now - before));
        pass->covered += target->rss;
        target->pss = pss;
    } else if (error == -ENOTSUP && !pass->works) {
        pass->error = error;
    } else if (error == -ESRCH || error == -ENOTSUP) {
        pass->rss -= target->rss; /* it has ended */
    } else {
        count_by_rss(pass, target);
        pass->covered += target->rss;
    }
}

/* Adds up what was read. Who has ended since, or has executed another program,
   has left its part of what it shared to the others, and those that were read
   after that have told of it: so it counts with no more than it has now, and
   the sum is never above what all of them hold at this moment. */
static void add_up(const mw_platform *platform, mw_pass *pass) {
    uint64_t roughness = mw_platform_roughness(platform);
    for (size_t i = 0; i < pass->count; i++) {
        const mw_target *target = &pass->targets[i];
        uint64_t rss;
        if (!target->pss)
            continue;
        if (mw_platform_resident(platform, target->pid, &rss)) {
            pass->rss -= target->rss;
            pass->covered -= target->rss;
        } else {
            pass->sum += target->pss < rss + roughness ? target->pss : rss;
        }
    }
}

static bool is_stopping(mw_pss *p) {
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stopping;
}

static void make_pass(mw_pss *p) {
    mw_pass *pass = &p->pass;
    int64_t begin = mw_now(), now = begin;
    find_shared(p->platform, pass);
    /* The largest first: they matter most, and change by the moment. */
    qsort(pass->targets, pass->count, sizeof *pass->targets, by_size);
    now = mw_now();
    for (size_t i = 0; i < pass->count && !pass->error && !is_stopping(p);
         i++) {
        mw_target *target = &pass->targets[i];
        pass->rss += target->rss;
        if (target->ppid) {
            pass->covered += target->rss;
        } else if (target->too_dear) {
            count_by_rss(pass, target);
            pass->covered += target->missed ? 0 : target->rss;
        } else if (!p->always &&
                   (double)(now - begin) + estimate(pass, target->rss) >
                       pass->budget) {
            /* Others took longer than expected. */
            count_by_rss(pass, target);
        } else {
            read_one(p->platform, pass, target, &now);
        }
    }
    add_up(p->platform, pass);
    pass->took = (double)(mw_now() - begin);
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
        make_pass(p);
        pthread_mutex_lock(&p->lock);
        p->reading = false;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- the ticking thread --- */

static int start_thread(mw_pss *p) {
    /* Signals belong to the caller's threads: this one must never take one. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&p->thread, NULL, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->has_thread = !error;
    return -error;
}

/* Lets the other thread have the pass: 1, or 0 if that would mean to wait. */
static int hand_over(mw_pss *p) {
    if (!p->has_thread) {
        p->reading = true;
        int error = start_thread(p);
        return error ? error : 1;
    }
    if (pthread_mutex_trylock(&p->lock))
        return 0;
    p->reading = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return 1;
}

/* Lists the processes for a pass that reads none dearer than `limit`. */
static int list_targets(mw_pss *p, const mw_table *table, double limit) {
    mw_pass *pass = &p->pass;
    if (pass->capacity < table->count) {
        mw_target *grown =
            realloc(pass->targets, table->capacity * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        pass->targets = grown;
        pass->capacity = table->capacity;
    }
    pass->count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const mw_slot *slot = &table->slots[i];
        if (slot->ended)
            continue;
        mw_target *target = &pass->targets[pass->count++];
        double cost = estimate(pass, slot->rss);
        target->rss = slot->rss;
        target->pss = 0;
        target->pid = slot->pid;
        target->ppid = slot->inherited ? slot->ppid : 0;
        target->too_dear = !p->always && cost > limit;
        target->missed = target->too_dear && cost <= MOST_FOR_ONE;
    }
    return 0;
}

static int begin_pass(mw_pss *p, int64_t time, const mw_table *table,
                      double limit) {
    mw_pass *pass = &p->pass;
    int result = list_targets(p, table, limit);
    if (!result && pass->count) {
        pass->time = time;
        pass->budget = p->budget;
        pass->covered = pass->sum = pass->rss = pass->by_rss = 0;
        result = hand_over(p);
    }
    p->under_way = result == 1;
    p->failed = result < 0;
    return result;
}

/* What a pass would cost that reads none dearer than `limit`, and how much of
   the job it would cover. What is never read does not count as left out. */
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
        double cost = estimate(&p->pass, slot->rss);
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

/* Pays in what the time has brought since. */
static void pay_in(mw_pss *p, int64_t time, double cost_of_pass) {
    if (time > p->paid_up_to)
        p->budget += (double)(time - p->paid_up_to) * SHARE;
    p->paid_up_to = time;
    double most = cost_of_pass * MOST_SAVED;
    if (most < FIRST_ALLOWANCE)
        most = FIRST_ALLOWANCE;
    if (p->budget > most)
        p->budget = most;
}

/* At a total higher than any that was covered. */
static int offer_high(mw_pss *p, int64_t time, bool holds_still,
                      const mw_table *table) {
    double limit = MOST_FOR_ONE;
    mw_plan plan = make_plan(p, table, limit);
    pay_in(p, time, plan.cost);
    double budget = holds_still ? p->budget : p->budget * RISING_SHARE;
    if (plan.cost > budget && holds_still && budget < limit) {
        /* Better without those that are too dear for now than not at all; with
           them when the budget has grown. */
        limit = budget;
        plan = make_plan(p, table, limit);
    }
    bool soon = time - p->last_pass < SETTLING;
    /* One that lost processes to their end is not tried again at once. */
    uint64_t base = soon && p->tried > p->covered ? p->tried : p->covered;
    if (plan.cost > budget || !plan.to_read || plan.covered <= base)
        return 0;
    if (base && plan.covered - base < step_above(base) &&
        (soon || !holds_still))
        return 0;
    int result = begin_pass(p, time, table, limit);
    if (p->under_way) {
        p->tried = plan.covered;
        p->last_pass = time;
    }
    return result;
}

/* Takes over a pass that has ended. */
static void collect(mw_pss *p) {
    if (!p->under_way || pthread_mutex_trylock(&p->lock))
        return;
    p->under_way = p->reading;
    pthread_mutex_unlock(&p->lock);
    if (p->under_way)
        return;
    const mw_pass *pass = &p->pass;
    if (pass->error) {
        p->failed = true;
        p->error = pass->error;
        return;
    }
    p->budget -= pass->took;
    if (pass->covered > p->covered)
        p->covered = pass->covered;
    p->result = (mw_observation){
        .kind = MW_PSS,
        .time = pass->time,
        .process = pass->rss,
        .value = pass->sum,
        .second = pass->by_rss,
        .valid = pass->by_rss ? MW_TICK_PARTIAL : 0,
    };
    p->has_result = true;
}

int mw_pss_offer(mw_pss *p, int64_t time, uint64_t total,
                 const mw_table *table) {
    if (!p)
        return 0;
    if (!p->begun) {
        p->begun = true;
        p->paid_up_to = p->last_pass = time;
        p->budget = FIRST_ALLOWANCE;
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
        return begin_pass(p, time, table, 0);
    if (total <= p->covered)
        return 0;
    uint64_t change = total > before ? total - before : before - total;
    return offer_high(p, time, change < step_above(before), table);
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
    free(p->pass.targets);
    free(p);
}
