/*
 * pss.c, and the sweeps that it makes, on a platform made up here: processes
 * that cost and hold what the test says, and a clock that moves only when one
 * is read. Checks which sweeps are made, what they give, and that they keep to
 * their budget.
 *
 *     test_pss CASE
 */
/* Its state says when a sweep has ended of which nothing is reported. */
#include "pss.c"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static const int64_t MS = 1000000;
static const int64_t BEGIN = 1000000000;
static const uint64_t GIB = 1 << 30;

/* The part of the time that sweeps may take in the long run. */
static const double SHARE = 0.02;

enum { MOST = 64, FIRST_PID = 100 };

/* Belongs to the reading thread while a sweep is under way, else to the
   test. */
static struct {
    int64_t now;
    double process_cost; /* ns */
    double mib_cost;
    uint64_t rss[MOST];
    uint64_t left[MOST];       /* what it frees after it was read */
    uint64_t file[MOST];       /* of its RSS: a file that all map */
    uint64_t unmapped[MOST];   /* of that, after it was read */
    uint64_t faults[MOST];     /* after it was read */
    uint64_t all_faults[MOST]; /* in its life so far; 0: not known */
    uint64_t alone[MOST];      /* of its RSS: in its PSS in full */
    int was_read[MOST];
    int mappers;      /* how many map the file when it is read; 0: one */
    double pss_share; /* PSS as part of the RSS */
    int error[MOST];
    int shares[MOST]; /* it has its parent's memory */
    long reads[MOST];
    long all_reads;
    double time_reading;
    double longest;
    int until_sleeping; /* a read waits until this thread sleeps */
    int blocks;         /* a read waits for `go_on` */
    sem_t arrived, go_on;
} fake;

struct mw_platform {
    char nothing;
};

static mw_platform the_platform;
static mw_table table;
static mw_pss *pss;

int64_t mw_now(void) { return fake.now; }

void mw_platform_name_thread(const char *name) { CHECK(strlen(name) < 16); }

static int sleeps(int tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "r");
    CHECK(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    CHECK(name_end);
    return name_end[2] == 'S';
}

int mw_platform_pss(const mw_platform *platform, int32_t pid, mw_shares *out) {
    CHECK(platform == &the_platform);
    CHECK(pid >= FIRST_PID && pid < FIRST_PID + MOST);
    int index = pid - FIRST_PID;
    if (fake.blocks) {
        sem_post(&fake.arrived);
        sem_wait(&fake.go_on);
    }
    for (int i = 0; fake.until_sleeping && !sleeps(fake.until_sleeping); i++) {
        CHECK(i < 60000);
        usleep(1000);
    }
    double cost = fake.process_cost;
    if (!fake.error[index])
        cost += (double)fake.rss[index] / (double)MIB * fake.mib_cost;
    fake.now += (int64_t)cost;
    fake.time_reading += cost;
    if (cost > fake.longest)
        fake.longest = cost;
    fake.reads[index]++;
    fake.all_reads++;
    fake.was_read[index] = 1;
    uint64_t file =
        fake.file[index] / (uint64_t)(fake.mappers ? fake.mappers : 1);
    uint64_t most = fake.rss[index] - fake.file[index] - fake.alone[index];
    out->anonymous =
        (uint64_t)((double)most * fake.pss_share) + fake.alone[index];
    out->pss = out->anonymous + file;
    return fake.error[index];
}

int mw_platform_memory(const mw_platform *platform, int32_t pid,
                       mw_memory *out) {
    CHECK(platform == &the_platform);
    CHECK(pid >= FIRST_PID && pid < FIRST_PID + MOST);
    int index = pid - FIRST_PID;
    *out =
        (mw_memory){fake.rss[index], fake.file[index], fake.all_faults[index]};
    if (fake.was_read[index]) {
        out->rss -= fake.left[index] + fake.unmapped[index];
        out->shared -= fake.unmapped[index];
        out->faults += fake.faults[index];
    }
    fake.was_read[index] = 0;
    return out->rss ? 0 : -ESRCH;
}

uint64_t mw_platform_roughness(const mw_platform *platform) {
    CHECK(platform == &the_platform);
    return 0;
}

int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other) {
    CHECK(platform == &the_platform);
    CHECK(pid >= FIRST_PID && pid < FIRST_PID + MOST && other >= FIRST_PID);
    return fake.shares[pid - FIRST_PID];
}

/* --- what the cases share --- */

static void setup(int32_t mode) {
    fake.now = BEGIN;
    fake.process_cost = 40e3;
    fake.mib_cost = 15e3;
    fake.pss_share = 0.5;
    CHECK(!sem_init(&fake.arrived, 0, 0) && !sem_init(&fake.go_on, 0, 0));
    CHECK(!mw_pss_new(&the_platform, mode, &pss));
    CHECK(pss);
}

static void done(void) {
    mw_pss_free(pss);
    mw_table_free(&table);
}

static mw_slot *add(uint64_t rss) {
    mw_slot *slot;
    size_t index = table.count;
    CHECK(index < MOST);
    CHECK(!mw_table_add(&table, FIRST_PID + (int32_t)index, &slot));
    slot->rss = fake.rss[index] = rss;
    slot->has_rss = 1;
    return slot;
}

static void resize(size_t index, uint64_t rss) {
    table.slots[index].rss = fake.rss[index] = rss;
}

static uint64_t total(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < table.count; i++)
        if (!table.slots[i].ended)
            sum += table.slots[i].rss;
    return sum;
}

/* Waits for the end of the sweep. Returns whether it had a result to report. */
static int await(mw_observation *result) {
    /* Only a failure takes that long. */
    for (long i = 0; i < 60000; i++) {
        if (mw_pss_take(pss, result))
            return 1;
        if (!pss->reader.under_way)
            return 0;
        struct timespec moment = {.tv_nsec = i < 1000 ? 10000 : 1000000};
        nanosleep(&moment, NULL);
    }
    CHECK(!"a sweep ends");
    return 0;
}

/* Makes a tick `gap` after the last. Returns whether it began a sweep, for
   which it waits, that had a result to report. */
static int tick(int64_t gap, mw_observation *result) {
    fake.now += gap;
    int64_t time = fake.now;
    int begun = mw_pss_offer(pss, time, total(), &table);
    CHECK(begun == 0 || begun == 1);
    if (!begun)
        return 0;
    if (!await(result)) {
        CHECK(pss->result.valid || pss->result.value);
        return 0;
    }
    CHECK(result->kind == MW_PSS && result->time == time);
    CHECK(!(result->valid & MW_TICK_PARTIAL) == !result->second);
    mw_observation none;
    CHECK(!mw_pss_take(pss, &none));
    return 1;
}

/* Makes ticks that report nothing. */
static void quiet(int count, int64_t gap) {
    mw_observation result;
    for (int i = 0; i < count; i++)
        CHECK(!tick(gap, &result));
}

/* Makes ticks until one reports a sum. Returns how many it took. */
static int until_sweep(int most, int64_t gap, mw_observation *result) {
    for (int i = 1; i <= most; i++)
        if (tick(gap, result))
            return i;
    CHECK(!"a sweep is made");
    return 0;
}

/* --- cases --- */

static void off(void) {
    mw_observation result;
    pss = (mw_pss *)&the_platform;
    CHECK(!mw_pss_new(&the_platform, MW_PSS_OFF, &pss));
    CHECK(!pss);
    CHECK(!mw_pss_offer(pss, BEGIN, GIB, &table));
    CHECK(!mw_pss_take(pss, &result));
    mw_pss_free(pss);
    CHECK(mw_pss_new(&the_platform, 7, &pss) == -EINVAL && !pss);
}

/* A new high gets a sweep. Where nothing is shared, the same or less gets
   none. */
static void highs(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    fake.pss_share = 1;
    quiet(3, MS); /* nothing is there yet */
    add(10 * MIB);
    add(20 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 30 * MIB && !result.second);
    CHECK(result.process == 30 * MIB);
    CHECK(fake.all_reads == 2);
    quiet(500, 10 * MS);
    resize(0, 5 * MIB);
    quiet(500, 10 * MS);
    resize(0, 12 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 32 * MIB);
    quiet(500, 10 * MS);
    CHECK(fake.all_reads == 4);
    /* A process that has ended is not read, though it is still in the table. */
    table.slots[1].ended = 1;
    resize(0, 40 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 40 * MIB);
    CHECK(fake.reads[0] == 3 && fake.reads[1] == 2);
    done();
}

/* The highest total is read again, since shared pages may become private; what
   says the same is not reported. */
static void plateau(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(100 * MIB);
    add(100 * MIB);
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    CHECK(result.value == 100 * MIB);
    long before = fake.all_reads;
    quiet(300, 10 * MS);
    CHECK(fake.all_reads - before >= 3000 / 250 * 2 / 2);
    CHECK(fake.all_reads - before <= 3000 / 250 * 2);
    fake.pss_share = 0.504; /* less than a step more */
    quiet(100, 10 * MS);
    fake.pss_share = 0.52;
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    CHECK(result.value > 103 * MIB && result.process == 200 * MIB);
    resize(0, 99 * MIB); /* is the same total */
    fake.pss_share = 0.6;
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    fake.pss_share = 1;
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    before = fake.all_reads;
    quiet(1000, 10 * MS); /* no more than all */
    CHECK(fake.all_reads == before);
    done();
}

/* Budget for a new high is left. */
static void plateau_reserve(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(GIB);
    CHECK(until_sweep(1000, 10 * MS, &result) > 0);
    for (int i = 0; i < 20; i++) {
        long before = fake.all_reads;
        for (int most = 1000; fake.all_reads == before; most--) {
            CHECK(most);
            quiet(1, 10 * MS);
        }
        resize(0, fake.rss[0] + fake.rss[0] / 50);
        quiet(1, 10 * MS); /* it is rising */
        CHECK(tick(10 * MS, &result));
        CHECK(result.process == fake.rss[0]);
    }
    done();
}

/* A lower total is read when all budget is there that may be saved, unless no
   sum there can be the highest. */
static void below_the_top(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(500 * MIB);
    add(500 * MIB);
    CHECK(until_sweep(1000, 10 * MS, &result) > 0);
    quiet(1000, 10 * MS); /* so that little is saved */
    long before = fake.all_reads;
    resize(0, 300 * MIB);
    fake.pss_share = 0.7;
    quiet(400, 10 * MS);
    CHECK(fake.all_reads == before);
    CHECK(until_sweep(1000, 10 * MS, &result) > 0);
    CHECK(result.value == 560 * MIB);
    before = fake.all_reads;
    resize(0, 62 * MIB);
    quiet(2000, 10 * MS);
    CHECK(fake.all_reads == before);
    done();
}

/* A sum in which something is missing is made again. */
static void low_again(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    fake.pss_share = 1;
    add(20 * MIB);
    add(10 * MIB);
    fake.left[0] = 10 * MIB;
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 20 * MIB && (result.valid & MW_LOWER));
    fake.left[0] = 0;
    quiet(20, 10 * MS);
    CHECK(until_sweep(10, 10 * MS, &result) > 0);
    CHECK(result.value == 30 * MIB && !(result.valid & MW_LOWER));
    quiet(100, 10 * MS);
    CHECK(fake.all_reads == 4);
    done();
}

/* With a limit each sum is reported. */
static void plateau_with_limit(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, GIB);
    add(100 * MIB);
    for (int i = 0; i < 5; i++) {
        CHECK(until_sweep(100, 10 * MS, &result) > 0);
        CHECK(result.value == 50 * MIB);
    }
    done();
}

/* A process that ends, or executes another program, after it was read leaves
   its part of shared pages to those that are read after it: so it counts no
   more than is certainly its own at the end of the sweep. */
static void gone_meanwhile(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(20 * MIB);
    add(10 * MIB);
    add(4 * MIB);
    fake.left[0] = 20 * MIB;
    fake.left[1] = 9 * MIB;
    CHECK(tick(10 * MS, &result));
    CHECK(fake.all_reads == 3);
    CHECK(result.value == 2 * MIB);
    CHECK(result.valid & MW_LOWER);
    CHECK(result.process == 14 * MIB);
    done();
}

/* A process that grows a page at a time gets few sweeps, and one at the top. */
static void small_steps(void) {
    mw_observation result = {0};
    setup(MW_PSS_PEAKS);
    add(200 * MIB);
    int sweeps = 0;
    for (int i = 0; i < 5000; i++) {
        sweeps += tick(10 * MS, &result);
        resize(0, fake.rss[0] + 4096);
    }
    /* 20 MiB more: one for each 1 %, and one after each rest. */
    CHECK(sweeps >= 10 && sweeps <= 5000 / 25);
    until_sweep(60, 10 * MS, &result);
    CHECK(result.value == fake.rss[0] / 2);
    quiet(1000, 10 * MS);
    done();
}

/* A last step that is too small for a new high gets its sweep within a second
   of rest. */
static void rest_below_a_step(void) {
    mw_observation result = {0};
    setup(MW_PSS_PEAKS);
    add(200 * MIB);
    CHECK(until_sweep(1000, 10 * MS, &result) > 0);
    for (int i = 0; i < 20; i++) {
        resize(0, fake.rss[0] + MIB / 4);
        uint64_t top = fake.rss[0];
        CHECK(until_sweep(100, 10 * MS, &result) > 0);
        CHECK(result.value == top / 2);
        quiet(200, 10 * MS);
    }
    done();
}

/* Of highs that follow each other closely, each that is a step above, 1 % or 1
   MiB, gets a sweep. */
static void steps(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    fake.pss_share = 1;
    add(1000 * MIB);
    until_sweep(1000, 10 * MS, &result);
    quiet(1000, 10 * MS);
    resize(0, 1011 * MIB);
    CHECK(tick(10 * MS, &result)); /* after a rest */
    resize(0, 1021 * MIB);
    quiet(1, 10 * MS);
    resize(0, 1022 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 1022 * MIB);
    done();
}

/* The budget for the top is not spent on the way up. */
static void rising(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(100 * MIB);
    for (int i = 0; i < 28; i++) {
        quiet(1, MS);
        resize(0, fake.rss[0] + 5 * MIB);
    }
    quiet(1, MS);
    CHECK(tick(MS, &result));
    CHECK(result.value == 120 * MIB);
    done();
}

/* If reading takes longer than expected, the rest of the sweep counts by
   size. */
static void overrun(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    fake.process_cost = 2e6;
    for (int i = 0; i < 20; i++)
        add(10 * MIB);
    until_sweep(100, MS, &result);
    CHECK(fake.all_reads < 4 && fake.all_reads > 0);
    CHECK(result.second == (uint64_t)(20 - fake.all_reads));
    CHECK(result.value == (400 - 10 * (uint64_t)fake.all_reads) * MIB / 2);
    done();
}

/* After that the next begins when there is budget for two. */
static void after_overrun(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(20 * MIB);
    for (int i = 0; i < 9; i++)
        add(19 * MIB);
    fake.process_cost = 600e3;
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    CHECK(result.second && pss->reader.sweep.overran);
    mw_plan plan = mw_sweep_plan(&pss->reader.sweep, &table, MW_MOST_FOR_ONE);
    CHECK(until_sweep(300, 10 * MS, &result) > 0);
    CHECK(!result.second && !pss->reader.sweep.overran);
    double read = 10 * 600e3 + 191 * 15e3;
    CHECK(pss->budget.left + read >= plan.cost * RESERVE);
    done();
}

/* Reading huge pages costs very little: a process that seemed too large is read
   once that is known. */
static void learning(void) {
    mw_observation result = {0};
    setup(MW_PSS_PEAKS);
    fake.mib_cost = 100;
    for (int i = 0; i < 8; i++)
        add(GIB);
    add(20 * GIB);
    until_sweep(1000, 100 * MS, &result);
    CHECK(result.second == 1);
    for (int i = 0; i < 4; i++) {
        resize(8, fake.rss[8] + GIB);
        until_sweep(1000, 100 * MS, &result);
    }
    CHECK(!result.second && result.value == 16 * GIB);
    done();
}

/* However a job behaves, sweeps take no more than their part of the time. The
   costs of processes are estimated wrongly at first. */
static void budget_of(double process_cost, double mib_cost) {
    mw_observation result;
    uint64_t random = 4711 + (uint64_t)mib_cost;
    setup(MW_PSS_PEAKS);
    fake.process_cost = process_cost;
    fake.mib_cost = mib_cost;
    for (int i = 0; i < 20; i++)
        add(MIB);
    double most = 0;
    long sweeps = 0;
    for (int i = 0; i < 20000; i++) {
        /* Always growing, by 1.4 GiB in all, now and then by a lot. */
        size_t index = below(&random, 20);
        uint64_t more = below(&random, 500) == 0 ? below(&random, 20) * MIB
                                                 : below(&random, 100) * 1024;
        resize(index, fake.rss[index] + more);
        sweeps += tick(i % 5000 ? 10 * MS : 30000 * MS, &result);
        double allowed = mw_pss_allowance(fake.now - BEGIN);
        if (fake.time_reading - allowed > most)
            most = fake.time_reading - allowed;
    }
    /* The cost of one process is not known for certain before. */
    int guessed_right = process_cost <= 40e3 && mib_cost <= 15e3;
    CHECK(most <= (guessed_right ? 0 : fake.longest));
    CHECK(sweeps > 50);
    /* If processes cost much, the budget is used. */
    CHECK(fake.time_reading > (mib_cost > 15e3 ? 2000 : 500) * (double)MS);
    mw_pss_free(pss);
    mw_table_free(&table);
    memset(&fake, 0, sizeof fake);
}

static void budget(void) {
    budget_of(40e3, 15e3);
    budget_of(500e3, 15e3);
    budget_of(40e3, 100e3);
}

/* A job that grows fast after a long rest is not read all the time. */
static void savings(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(500 * MIB);
    until_sweep(1000, 10 * MS, &result);
    quiet(1, 3600000 * MS);
    double before = fake.time_reading;
    int64_t began = fake.now;
    for (int i = 0; i < 100; i++) {
        resize(0, fake.rss[0] + 10 * MIB);
        tick(10 * MS, &result);
    }
    double one = (double)fake.rss[0] / (double)MIB * 15e3;
    CHECK(fake.time_reading - before <
          10 * one + (double)(fake.now - began) * SHARE);
    done();
}

/* A process that takes too long to read always counts by its size; a new high
   of it gets a sweep of the others. */
static void huge(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(8 * MIB);
    add(200 * GIB);
    add(16 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 12 * MIB + 200 * GIB && result.second == 1);
    CHECK(result.process == 24 * MIB + 200 * GIB);
    quiet(10000, 1000 * MS);
    resize(1, 210 * GIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 12 * MIB + 210 * GIB && result.second == 1);
    CHECK(fake.reads[1] == 0);
    done();
}

/* If such a process is alone, there is nothing to read. */
static void huge_alone(void) {
    setup(MW_PSS_PEAKS);
    add(200 * GIB);
    quiet(1000, 1000 * MS);
    CHECK(fake.all_reads == 0);
    done();
}

/* A process that costs too much for now counts by its size, and is read when
   the budget is large enough. */
static void large(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(8 * MIB);
    add(2 * GIB);
    quiet(1, 10 * MS); /* the total is rising */
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 4 * MIB + 2 * GIB && result.second == 1);
    int ticks = until_sweep(1000, 10 * MS, &result);
    /* 31 ms and a quarter more are 2 % of 2 s; some budget was there. */
    CHECK(ticks > 100 && ticks < 200);
    CHECK(result.value == 4 * MIB + GIB && !result.second);
    quiet(1000, 10 * MS);
    done();
}

/* A process that may not be read counts by its size. */
static void unreadable(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(8 * MIB);
    add(16 * MIB);
    add(32 * MIB);
    fake.error[1] = -EACCES;
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 36 * MIB && result.second == 1);
    CHECK(result.process == 56 * MIB);
    quiet(500, 10 * MS);
    done();
}

static void vanished(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(8 * MIB);
    add(16 * MIB);
    fake.error[1] = -ESRCH;
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 4 * MIB && !result.second);
    CHECK(result.process == 8 * MIB);
    table.slots[1].ended = 1;
    /* The process that ended was not covered, so a smaller total is still a
       high. */
    quiet(100, 10 * MS);
    resize(0, 12 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 6 * MIB && result.process == 12 * MIB);
    done();
}

/* A process that never can be read is not tried at each tick. */
static void always_vanished(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(8 * MIB);
    add(16 * MIB);
    fake.error[1] = -ESRCH;
    int sweeps = 0;
    for (int i = 0; i < 1000; i++)
        sweeps += tick(10 * MS, &result);
    CHECK(sweeps > 1 && sweeps <= 10000 / 250 + 1);
    done();
}

/* Two processes with one memory count once, if the parent is in the job. */
static void shared(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(10 * MIB);
    for (int i = 1; i < 5; i++) {
        mw_slot *slot = add(10 * MIB);
        slot->ppid = FIRST_PID;
        slot->inherited = 1;
        fake.shares[i] = 1;
    }
    table.slots[2].inherited = 0; /* executed something since */
    fake.shares[3] = 0;           /* forked */
    table.slots[4].ppid = FIRST_PID + 4711;
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 4 * 5 * MIB && !result.second);
    CHECK(result.process == 5 * 10 * MIB);
    CHECK(fake.reads[1] == 0 && fake.all_reads == 4);
    quiet(500, 10 * MS);
    done();
}

/* --- memory that moves while it is read --- */

/* Processes that map one file of 200 MiB, and each hold 4 MiB of their own. */
static void add_mappers(int count) {
    for (int i = 0; i < count; i++) {
        add(204 * MIB);
        fake.file[i] = 200 * MIB;
    }
    fake.pss_share = 1;
}

/* Mappings that stand still are added up. */
static void mappings_still(void) {
    mw_observation result;
    setup(MW_PSS_ALWAYS);
    add_mappers(4);
    fake.mappers = 4;
    fake.faults[1] = 64; /* as many as a still process may have */
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 216 * MIB && !(result.valid & MW_LOWER));
    done();
}

/* Each has mapped the file alone when it was read: it counts once. */
static void mappings_move(void) {
    mw_observation result;
    setup(MW_PSS_ALWAYS);
    add_mappers(4);
    for (int i = 1; i < 4; i++)
        fake.unmapped[i] = 199 * MIB;
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 216 * MIB && (result.valid & MW_LOWER));
    done();
}

/* The same if all have mapped it again by the end, which takes page faults. */
static void mapped_again(void) {
    mw_observation result;
    setup(MW_PSS_ALWAYS);
    add_mappers(4);
    for (int i = 0; i < 4; i++)
        fake.faults[i] = 200 * 16;
    CHECK(tick(10 * MS, &result));
    CHECK(result.value == 216 * MIB && (result.valid & MW_LOWER));
    done();
}

/* A job that grows after the tick has no sum above the total of the tick. */
static void grown_since(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    fake.pss_share = 1;
    add(20 * MIB);
    fake.rss[0] = 30 * MIB;
    CHECK(tick(10 * MS, &result));
    CHECK(result.process == 20 * MIB && result.value == 20 * MIB);
    done();
}

/* --- readings that are kept --- */

/* Three processes whose page faults are known, in a sum that was made. */
static void set_up_kept(int32_t mode) {
    mw_observation result;
    setup(mode);
    for (int i = 0; i < 3; i++) {
        add(20 * MIB)->serial = (uint64_t)i + 1;
        fake.all_faults[i] = 5000;
    }
    CHECK(until_sweep(3, 10 * MS, &result) > 0);
    CHECK(result.value == 30 * MIB && fake.all_reads == 3);
}

/* A process touches memory page by page. */
static void grow(size_t index, uint64_t more) {
    resize(index, fake.rss[index] + more);
    fake.alone[index] += more;
    fake.all_faults[index] += more / 4096;
}

/* Makes the next sum, and returns how many processes it reads. */
static long reads_of_next(void) {
    mw_observation result;
    long before = fake.all_reads;
    grow(0, 2 * MIB);
    uint64_t sum = total() / 2;
    for (size_t i = 0; i < table.count; i++)
        sum += table.slots[i].ended ? 0 : fake.alone[i] / 2;
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    CHECK(result.value == sum && !result.valid);
    return fake.all_reads - before;
}

/* Only what has grown is read again, as long as all else stands still. */
static void kept(void) {
    set_up_kept(MW_PSS_PEAKS);
    quiet(100, 10 * MS); /* sums are made again, and nothing is read */
    CHECK(fake.all_reads == 3);
    for (int i = 0; i < 10; i++)
        CHECK(reads_of_next() == 1);
    grow(1, 4 * MIB);
    CHECK(reads_of_next() == 2);
    fake.all_faults[2]++;
    CHECK(reads_of_next() == 2);
    CHECK(reads_of_next() == 1);
    done();
}

/* A change of what may be shared makes all be read again: pages copied, freed,
   huge pages, another process, another in its place, one that has ended. */
static void kept_no_more(void) {
    set_up_kept(MW_PSS_PEAKS);
    fake.all_faults[2] += 100;
    CHECK(reads_of_next() == 3);
    CHECK(reads_of_next() == 1);
    resize(2, 19 * MIB);
    CHECK(reads_of_next() == 3);
    resize(2, 21 * MIB);
    CHECK(reads_of_next() == 3);
    CHECK(reads_of_next() == 1);
    add(20 * MIB)->serial = 4;
    fake.all_faults[3] = 5000;
    CHECK(reads_of_next() == 4);
    CHECK(reads_of_next() == 1);
    table.slots[3].serial = 5;
    CHECK(reads_of_next() == 4);
    table.slots[3].ended = 1;
    grow(1, 20 * MIB);
    CHECK(reads_of_next() == 3);
    done();
}

/* A process that was read anew has other pages for some that it shared: then
   others may have more of those than before. */
static void kept_in_vain(void) {
    mw_observation result;
    set_up_kept(MW_PSS_PEAKS);
    fake.all_faults[1] += 4;
    fake.pss_share = 0.6;
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    CHECK(result.value == 32 * MIB && (result.valid & MW_LOWER));
    CHECK(fake.all_reads == 4);
    CHECK(until_sweep(100, 10 * MS, &result) > 0);
    CHECK(result.value == 36 * MIB && !(result.valid & MW_LOWER));
    CHECK(fake.all_reads == 7);
    done();
}

/* For a limit, and always, all is read. */
static void kept_for_none(void) {
    mw_observation result;
    set_up_kept(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, 59 * MIB);
    CHECK(tick(10 * MS, &result));
    CHECK(fake.all_reads == 6);
    mw_pss_free(pss);
    mw_table_free(&table);
    memset(&fake, 0, sizeof fake);
    set_up_kept(MW_PSS_ALWAYS);
    CHECK(tick(10 * MS, &result));
    CHECK(fake.all_reads == 6);
    done();
}

/* --- a limit --- */

/* Above the limit a sum is made at once, whatever it costs: the limit counts,
   not the budget. */
static void limit_at_once(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, 40 * GIB);
    add(30 * GIB);
    quiet(100, MS);
    CHECK(!fake.all_reads && !mw_pss_is_urgent(pss));
    resize(0, 41 * GIB);
    CHECK(tick(MS, &result));
    CHECK(result.value == 41 * GIB / 2 && !result.second);
    CHECK(!mw_pss_is_urgent(pss));
    done();
}

/* After a sum above the limit the next comes at once, and so on while that is
   so. */
static void limit_confirmed(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, 100 * MIB);
    add(GIB);
    for (int i = 0; i < 5; i++) {
        CHECK(tick(MS, &result));
        CHECK(result.value == GIB / 2 && mw_pss_is_urgent(pss));
    }
    resize(0, 180 * MIB);
    CHECK(tick(MS, &result));
    CHECK(result.value == 90 * MIB && !mw_pss_is_urgent(pss));
    done();
}

/* While the total is above the limit and no sum is, sums take a tenth of the
   time in the long run. */
static void limit_pace(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, 900 * MIB);
    add(GIB);
    for (int i = 0; fake.now < BEGIN + 10000 * MS; i++) {
        resize(0, GIB + (uint64_t)i * MIB / 100);
        tick(MS, &result);
    }
    double share = fake.time_reading / (double)(fake.now - BEGIN);
    CHECK(share > 0.08 && share < 0.13);
    done();
}

/* Sums begin a little before the limit, while the total rises. */
static void limit_early(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, 1600 * GIB);
    add(1500 * GIB);
    quiet(5, MS);
    resize(0, 1501 * GIB);
    fake.mib_cost = 1;
    CHECK(tick(MS, &result));
    CHECK(result.process == 1501 * GIB && !result.second);
    quiet(5, MS);
    resize(0, 1516 * GIB);
    quiet(5, MS);
    resize(0, 1517 * GIB); /* 1 % more */
    CHECK(tick(MS, &result));
    resize(0, 1400 * GIB);
    quiet(5, MS);
    resize(0, 1510 * GIB);
    CHECK(tick(MS, &result));
    done();
}

/* A total that the last sum has shown to be innocent needs no sum at once; one
   above that does. */
static void limit_proven(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    mw_pss_set_limit(pss, 900 * MIB);
    add(1000 * MIB);
    CHECK(tick(MS, &result)); /* 500: so up to 1400 it cannot be 900 */
    resize(0, 1400 * MIB);
    quiet(10, MS);
    resize(0, 1401 * MIB);
    CHECK(tick(MS, &result));
    CHECK(!mw_pss_is_urgent(pss));
    done();
}

/* During a sweep no tick waits, and no other sweep begins. */
static void blocked(void) {
    mw_observation result;
    setup(MW_PSS_PEAKS);
    add(8 * MIB);
    fake.blocks = 1;
    int64_t time = fake.now;
    CHECK(mw_pss_offer(pss, time, total(), &table) == 1);
    for (int i = 1; i <= 10000; i++) {
        table.slots[0].rss += MIB; /* `fake` is being read */
        CHECK(mw_pss_offer(pss, time + i * MS, total(), &table) == 0);
        CHECK(!mw_pss_take(pss, &result));
    }
    /* The reading thread may have begun only now. */
    sem_wait(&fake.arrived);
    CHECK(!mw_pss_take(pss, &result));
    sem_post(&fake.go_on);
    CHECK(await(&result));
    CHECK(result.time == time && result.value == 4 * MIB);
    fake.blocks = 0;
    resize(0, table.slots[0].rss);
    fake.now = time + 10000 * MS;
    CHECK(until_sweep(1000, 100 * MS, &result) > 0);
    CHECK(result.value == fake.rss[0] / 2);
    done();
}

static void always(void) {
    mw_observation result;
    setup(MW_PSS_ALWAYS);
    quiet(3, MS); /* no process is there */
    add(8 * MIB);
    add(200 * GIB);
    for (int i = 1; i <= 100; i++) {
        resize(0, (uint64_t)(100 - i % 7) * MIB);
        CHECK(tick(10 * MS, &result));
        CHECK(result.value == fake.rss[0] / 2 + 100 * GIB && !result.second);
        CHECK(fake.reads[1] == i);
    }
    /* While a sweep is under way no other begins. */
    fake.blocks = 1;
    int64_t time = fake.now;
    for (int i = 0; i < 100; i++)
        CHECK(mw_pss_offer(pss, time + i, total(), &table) == (i == 0));
    sem_post(&fake.go_on);
    sem_post(&fake.go_on);
    CHECK(await(&result));
    CHECK(result.time == time);
    done();
}

/* If sizes cannot be had here, the error is returned once, and none is tried
   again. */
static void unsupported(void) {
    mw_observation result;
    setup(MW_PSS_ALWAYS);
    add(8 * MIB);
    add(8 * MIB);
    fake.error[0] = fake.error[1] = -ENOTSUP;
    CHECK(mw_pss_offer(pss, BEGIN, total(), &table) == 1);
    int error = 0;
    for (int i = 0; i < 60000 && !error; i++) {
        CHECK(!mw_pss_take(pss, &result));
        error = mw_pss_offer(pss, BEGIN + i, total(), &table);
        usleep(100);
    }
    CHECK(error == -ENOTSUP);
    CHECK(!mw_pss_offer(pss, BEGIN + MS, total(), &table));
    CHECK(fake.all_reads == 1);
    done();
}

/* mw_pss_free() waits for one process, not for the sweep: the first read lasts
   until this thread sleeps, which it does only in mw_pss_free(). */
static void end_under_way(void) {
    setup(MW_PSS_ALWAYS);
    for (int i = 0; i < MOST; i++)
        add(MIB);
    fake.until_sleeping = getpid();
    CHECK(mw_pss_offer(pss, BEGIN, total(), &table) == 1);
    done();
    CHECK(fake.all_reads <= 1);
}

static void end_at_once(void) {
    setup(MW_PSS_PEAKS);
    done();
    setup(MW_PSS_PEAKS);
    add(MIB);
    CHECK(mw_pss_offer(pss, BEGIN, total(), &table) == 1);
    done();
}

static const test_case CASES[] = {
    {"off", off},
    {"highs", highs},
    {"plateau", plateau},
    {"plateau-reserve", plateau_reserve},
    {"plateau-with-limit", plateau_with_limit},
    {"below-the-top", below_the_top},
    {"low-again", low_again},
    {"gone-meanwhile", gone_meanwhile},
    {"small-steps", small_steps},
    {"rest-below-a-step", rest_below_a_step},
    {"steps", steps},
    {"rising", rising},
    {"overrun", overrun},
    {"after-overrun", after_overrun},
    {"learning", learning},
    {"budget", budget},
    {"savings", savings},
    {"huge", huge},
    {"huge-alone", huge_alone},
    {"large", large},
    {"unreadable", unreadable},
    {"vanished", vanished},
    {"always-vanished", always_vanished},
    {"shared", shared},
    {"mappings-still", mappings_still},
    {"mappings-move", mappings_move},
    {"mapped-again", mapped_again},
    {"grown-since", grown_since},
    {"kept", kept},
    {"kept-no-more", kept_no_more},
    {"kept-in-vain", kept_in_vain},
    {"kept-for-none", kept_for_none},
    {"limit-at-once", limit_at_once},
    {"limit-confirmed", limit_confirmed},
    {"limit-pace", limit_pace},
    {"limit-proven", limit_proven},
    {"limit-early", limit_early},
    {"blocked", blocked},
    {"always", always},
    {"unsupported", unsupported},
    {"end-under-way", end_under_way},
    {"end-at-once", end_at_once},
};

int main(int argc, char **argv) {
    CHECK(argc == 2);
    FIND_CASE(CASES, argv[1])->run();
    return 0;
}
