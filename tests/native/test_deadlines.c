/*
 * sampler.c on a platform made up here, whose clock moves only while the
 * sampler sleeps: deadlines, late and skipped ticks, failures. Nothing depends
 * on chance, and nothing takes time.
 *
 *     test_deadlines CASE
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "platform.h"
#include "stream.h"

static const int64_t MS = 1000000;
static const int64_t BEGIN = 1000000000;

enum { ROOT = 500, MOST_SLEEPS = 64 };

/* Set before the sampler starts; then it belongs to its thread until that has
   ended. */
static struct {
    int64_t now;
    int64_t late[MOST_SLEEPS]; /* by how much each sleep takes too long */
    long sleeps_until_exit;
    long sleeps;
    int64_t last_deadline;
    int entered;
    int attach_error; /* what attach and poll return */
    int poll_error;
    long poll_error_after;
    long polls;
    uint64_t rss;
    uint64_t rise; /* of `rss` in each sleep */
    uint64_t available;
    long pause_at; /* the sleep before which the thread waits for the reader */
    sem_t paused, go_on;
} fake;

struct mw_platform {
    char nothing;
};

struct mw_handle {
    int32_t pid;
};

static mw_platform the_platform;

int64_t mw_now(void) { return fake.now; }

int mw_platform_open(const mw_sampler_options *options, mw_platform **out) {
    (void)options;
    *out = &the_platform;
    return 0;
}

void mw_platform_close(mw_platform *platform) { (void)platform; }

int mw_platform_enter_thread(mw_platform *platform, int32_t root_pid) {
    (void)platform;
    fake.entered = root_pid == ROOT;
    return 0;
}

int mw_platform_wait(mw_platform *platform, int64_t deadline) {
    (void)platform;
    long sleep = fake.sleeps++;
    if (sleep == fake.pause_at) {
        sem_post(&fake.paused);
        sem_wait(&fake.go_on);
    }
    /* A platform can notice the root's end only once it knows the root. */
    if (sleep >= fake.sleeps_until_exit)
        return fake.entered ? MW_WAITED_ROOT_EXIT : MW_WAITED_STOP;
    fake.last_deadline = deadline;
    if (deadline == INT64_MAX)
        return 0;
    if (deadline > fake.now)
        fake.now = deadline;
    if (sleep < MOST_SLEEPS)
        fake.now += fake.late[sleep];
    fake.rss += fake.rise;
    return 0;
}

void mw_platform_stop(mw_platform *platform) { (void)platform; }

int mw_platform_discover(mw_platform *platform,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found) {
    (void)platform, (void)is_member, (void)members, (void)found;
    return 0;
}

int mw_platform_attach(mw_platform *platform, int32_t pid, mw_handle **out,
                       mw_identity *identity) {
    (void)platform, (void)identity;
    *out = NULL;
    if (fake.attach_error)
        return fake.attach_error;
    *out = calloc(1, sizeof **out);
    CHECK(*out);
    (*out)->pid = pid;
    return 0;
}

void mw_platform_detach(mw_platform *platform, mw_handle *handle) {
    (void)platform;
    free(handle);
}

int mw_platform_poll(mw_platform *platform, mw_handle *handle, int64_t now,
                     mw_reading *out, mw_pids *found) {
    (void)platform, (void)handle, (void)now, (void)found;
    if (fake.poll_error && fake.polls >= fake.poll_error_after)
        return fake.poll_error;
    fake.polls++;
    out->life = fake.sleeps > fake.sleeps_until_exit ? MW_ENDED : MW_ALIVE;
    out->rss = fake.rss;
    out->valid = MW_HAS_RSS;
    return 0;
}

int mw_platform_inspect(mw_platform *platform, mw_handle *handle,
                        mw_inspection *out) {
    (void)platform, (void)handle, (void)out;
    return 0;
}

void mw_platform_image(mw_platform *platform, mw_handle *handle, char *text,
                       size_t capacity, mw_image *out) {
    (void)platform, (void)handle;
    CHECK(capacity >= 3);
    memcpy(text, "x\0", 3);
    *out = (mw_image){.length = 3, .valid = MW_HAS_ARGV};
}

int mw_platform_signal_job(const mw_platform *p, int number, int reap,
                           mw_pids *found) {
    (void)p, (void)number, (void)reap, (void)found;
    return -ENOTSUP;
}

int mw_platform_reap(mw_platform *platform, mw_handle *handle, int *status,
                     uint64_t *peak) {
    *peak = 0;
    (void)platform, (void)handle;
    *status = 42 << 8;
    return 1;
}

void mw_platform_stats(const mw_platform *platform, mw_sampler_stats *out) {
    (void)platform;
    memset(out, 0, sizeof *out);
}

void mw_platform_wake_on_events(mw_platform *platform, int wake) {
    (void)platform, (void)wake;
}

int mw_platform_events(mw_platform *platform, int closing, mw_event_list *out) {
    (void)platform, (void)closing, (void)out;
    return 0;
}

uint32_t mw_platform_sources(const mw_platform *platform) {
    (void)platform;
    return 0;
}

void mw_platform_name_thread(const char *name) { (void)name; }

int mw_platform_pss(const mw_platform *platform, int32_t pid, mw_shares *out) {
    (void)platform, (void)pid;
    *out = (mw_shares){0};
    return -ENOTSUP;
}

int mw_platform_memory(const mw_platform *platform, int32_t pid,
                       mw_memory *out) {
    (void)platform, (void)pid;
    *out = (mw_memory){0};
    return -ESRCH;
}

int mw_platform_available(mw_platform *platform, uint64_t enough,
                          uint64_t *bytes, int *in_group) {
    (void)platform, (void)enough;
    *bytes = fake.available;
    *in_group = 1;
    return 0;
}

int mw_platform_written(const mw_platform *platform, int32_t pid,
                        void (*found)(void *context, const mw_written *file),
                        void *context) {
    (void)platform, (void)pid, (void)found, (void)context;
    return -ENOTSUP;
}

enum mw_written_state mw_platform_written_again(const mw_platform *platform,
                                                mw_written *file) {
    (void)platform, (void)file;
    return MW_WRITTEN_GONE;
}

uint64_t mw_platform_roughness(const mw_platform *platform) {
    (void)platform;
    return 0;
}

uint64_t mw_platform_page(const mw_platform *platform) {
    (void)platform;
    return 4096;
}

uint64_t mw_platform_huge_faults(const mw_platform *platform) {
    (void)platform;
    return 0;
}

int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other) {
    (void)platform, (void)pid, (void)other;
    return 0;
}

/* --- what the cases share --- */

/* A tick of a stream: time since the start, flags, how many were skipped. */
typedef struct {
    int64_t time;
    uint32_t flags;
    uint64_t skipped;
} tick;

enum { MOST_TICKS = 256 };

static tick ticks[MOST_TICKS];
static size_t tick_count;

static void begin(int64_t interval, long sleeps_until_exit, mw_sampler **out) {
    fake.now = BEGIN;
    fake.sleeps_until_exit = sleeps_until_exit;
    fake.rss = 4096;
    fake.pause_at = fake.pause_at ? fake.pause_at : -1;
    CHECK(!sem_init(&fake.paused, 0, 0) && !sem_init(&fake.go_on, 0, 0));
    mw_sampler_options options = {
        .proc_root = "/proc", .interval = interval, .batch = 500 * MS};
    CHECK(!mw_sampler_new(&options, out));
}

static void await_end(mw_sampler *sampler) {
    for (;;) {
        int reasons = mw_sampler_wait(sampler, -1, 60000);
        CHECK(reasons >= 0);
        if (reasons & MW_WAKE_ENDED)
            return;
    }
}

static void collect(mw_sampler *sampler) {
    static mw_observation records[4096];
    static char text[4096];
    size_t count, text_count;
    CHECK(!mw_sampler_read(sampler, records, 4096, text, sizeof text, &count,
                           &text_count));
    tick_count = 0;
    for (size_t i = 0; i < count; i++)
        if (records[i].kind == MW_TICK) {
            CHECK(tick_count < MOST_TICKS);
            ticks[tick_count++] = (tick){
                records[i].time - BEGIN,
                records[i].valid & (MW_TICK_EXTRA | MW_TICK_LATE),
                records[i].process,
            };
        }
}

static void run(int64_t interval, long sleeps_until_exit) {
    mw_sampler *sampler;
    begin(interval, sleeps_until_exit, &sampler);
    CHECK(!mw_sampler_start(sampler, ROOT));
    await_end(sampler);
    collect(sampler);
    mw_sampler_stats stats;
    mw_sampler_stats_read(sampler, &stats);
    CHECK(!stats.error);
    mw_sampler_free(sampler);
}

static void check_ticks(const tick *expected, size_t count) {
    CHECK(tick_count == count);
    for (size_t i = 0; i < count; i++) {
        CHECK(ticks[i].time == expected[i].time * MS);
        CHECK(ticks[i].flags == expected[i].flags);
        CHECK(ticks[i].skipped == expected[i].skipped);
    }
}

#define CHECK_TICKS(...)                                                       \
    check_ticks((const tick[]){__VA_ARGS__},                                   \
                sizeof((const tick[]){__VA_ARGS__}) / sizeof(tick))

/* --- cases --- */

static void on_time(void) {
    run(10 * MS, 7);
    CHECK_TICKS({0, MW_TICK_EXTRA, 0}, {1, MW_TICK_EXTRA, 0},
                {3, MW_TICK_EXTRA, 0}, {7, MW_TICK_EXTRA, 0},
                {15, MW_TICK_EXTRA, 0}, {25, 0, 0}, {35, 0, 0}, {45, 0, 0},
                /* at once at the root's end */
                {45, MW_TICK_EXTRA, 0});
}

static void short_interval(void) {
    run(MS, 3);
    CHECK_TICKS({0, 0, 0}, {1, 0, 0}, {2, 0, 0}, {3, 0, 0},
                {3, MW_TICK_EXTRA, 0});
}

static void late(void) {
    /* Half an interval is not late yet. */
    fake.late[2] = MS / 2;
    fake.late[3] = MS / 2 + 1;
    mw_sampler *sampler;
    begin(MS, 6, &sampler);
    CHECK(!mw_sampler_start(sampler, ROOT));
    await_end(sampler);
    collect(sampler);
    CHECK(tick_count == 8);
    for (size_t i = 0; i < tick_count; i++) {
        CHECK(ticks[i].skipped == 0);
        CHECK(ticks[i].flags == (i == 4   ? MW_TICK_LATE
                                 : i == 7 ? MW_TICK_EXTRA
                                          : 0));
    }
    mw_sampler_free(sampler);
}

/* Deadlines are absolute: those that could not be met are counted, and the next
   one is where it would have been. */
static void skipped(void) {
    fake.late[2] = 5 * MS; /* due at 3, comes at 8 */
    run(MS, 5);
    CHECK_TICKS({0, 0, 0}, {1, 0, 0}, {2, 0, 0}, {8, MW_TICK_LATE, 0},
                {9, 0, 5}, {10, 0, 0}, {10, MW_TICK_EXTRA, 0});
}

/* The ticks of the dense start are extra: if they do not come, none counts as
   skipped. */
static void skipped_extra(void) {
    fake.late[0] = 20 * MS;
    run(500 * MS, 12);
    uint64_t all = 0;
    for (size_t i = 0; i < tick_count; i++)
        all += ticks[i].skipped;
    CHECK(all == 0);
}

/* Sampling that fails at once still ends when the root ends. */
static void first_tick_fails(void) {
    fake.attach_error = -ENOMEM;
    mw_sampler *sampler;
    begin(MS, 5, &sampler);
    CHECK(!mw_sampler_start(sampler, ROOT));
    await_end(sampler);
    CHECK(fake.entered);
    CHECK(fake.sleeps == 6 && fake.last_deadline == INT64_MAX);
    collect(sampler);
    CHECK(tick_count == 0);
    mw_sampler_stats stats;
    mw_sampler_stats_read(sampler, &stats);
    CHECK(stats.error == -ENOMEM);
    mw_sampler_free(sampler);
}

static void later_tick_fails(void) {
    fake.poll_error = -ENOMEM;
    fake.poll_error_after = 4; /* two of them in the first tick */
    mw_sampler *sampler;
    begin(MS, 8, &sampler);
    CHECK(!mw_sampler_start(sampler, ROOT));
    await_end(sampler);
    CHECK(fake.sleeps == 9 && fake.last_deadline == INT64_MAX);
    collect(sampler);
    CHECK_TICKS({0, 0, 0}, {1, 0, 0}, {2, 0, 0});
    mw_sampler_stats stats;
    mw_sampler_stats_read(sampler, &stats);
    CHECK(stats.error == -ENOMEM);
    mw_sampler_free(sampler);
}

/* With the caller's own clock a failure is final as well: what came before it
   is kept, and no tick follows with half of a change. */
static void own_clock_fails(void) {
    mw_sampler *sampler;
    begin(MS, 1000, &sampler);
    CHECK(!mw_sampler_tick(sampler, ROOT, BEGIN + MS));
    fake.poll_error = -ENOMEM;
    CHECK(mw_sampler_tick(sampler, ROOT, BEGIN + 2 * MS) == -ENOMEM);
    fake.poll_error = 0;
    CHECK(mw_sampler_tick(sampler, ROOT, BEGIN + 3 * MS) == -ENOMEM);
    collect(sampler);
    CHECK_TICKS({1, 0, 0});
    mw_sampler_free(sampler);
}

/* While a reader does not read, ticks are skipped and counted, not kept for
   ever; and they go on when it reads. */
static void lagging_reader(void) {
    const long most = 1 << 20, sleeps = most + 5000;
    fake.pause_at = sleeps;
    mw_sampler *sampler;
    begin(MS, sleeps + 10, &sampler);
    CHECK(!mw_sampler_start(sampler, ROOT));
    sem_wait(&fake.paused);
    size_t count, text_count;
    CHECK(mw_sampler_read(sampler, NULL, 0, NULL, 0, &count, &text_count) ==
          -ENOBUFS);
    /* Ticks, and the first observations of one process. */
    CHECK(count > (size_t)most && count < (size_t)most + 8);
    mw_observation *records = malloc(count * sizeof *records);
    char text[64];
    CHECK(records);
    CHECK(!mw_sampler_read(sampler, records, count, text, sizeof text, &count,
                           &text_count));
    uint64_t made = 0, not_made = 0;
    for (size_t i = 0; i < count; i++)
        if (records[i].kind == MW_TICK) {
            made++;
            not_made += records[i].process;
        }
    free(records);
    CHECK(not_made == 0);
    sem_post(&fake.go_on);
    await_end(sampler);
    collect(sampler);
    /* The pause ended with a tick that was skipped before the thread noticed
       that there is room again. */
    CHECK(tick_count >= 9);
    for (size_t i = 0; i < tick_count; i++)
        not_made += ticks[i].skipped;
    /* The first tick and the last come without a sleep. */
    CHECK(made + not_made + tick_count == (uint64_t)sleeps + 12);
    mw_sampler_free(sampler);
}

static const uint64_t MIB = 1 << 20;

static mw_observation seen[4096];
static size_t seen_count;

/* Runs a job that begins with `rss`, with these limits beside an interval of 10
   ms; its ticks are then in `ticks`, and all observations in `seen`. */
static void run_limited(mw_sampler_options options, uint64_t rss,
                        long sleeps_until_exit) {
    static char text[4096];
    mw_sampler *sampler;
    fake.now = BEGIN;
    fake.sleeps_until_exit = sleeps_until_exit;
    fake.rss = rss;
    fake.pause_at = -1;
    options.proc_root = "/proc";
    options.interval = 10 * MS;
    options.batch = 500 * MS;
    CHECK(!mw_sampler_new(&options, &sampler));
    CHECK(!mw_sampler_start(sampler, ROOT));
    await_end(sampler);
    size_t text_count;
    CHECK(!mw_sampler_read(sampler, seen, 4096, text, sizeof text, &seen_count,
                           &text_count));
    tick_count = 0;
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].kind == MW_TICK)
            ticks[tick_count++] = (tick){
                seen[i].time - BEGIN,
                seen[i].valid & (MW_TICK_EXTRA | MW_TICK_LATE),
                seen[i].process,
            };
    mw_sampler_free(sampler);
}

/* Returns how many of the last `count` regular or extra ticks came less than an
   interval after the one before. Not all need to: near a limit the gap is at
   least ten times the CPU time that a tick takes. */
static size_t dense(size_t count) {
    size_t found = 0;
    CHECK(tick_count > count + 1);
    for (size_t i = tick_count - 1 - count; i + 1 < tick_count; i++) {
        int64_t gap = ticks[i].time - ticks[i - 1].time;
        CHECK(gap >= MS && gap <= 10 * MS);
        CHECK(!(ticks[i].flags & MW_TICK_EXTRA) == (gap == 10 * MS));
        found += gap < 10 * MS;
    }
    return found;
}

/* Ticks come often while the size rises close to the limit, or fast enough to
   reach it in three ticks. */
static void near_a_limit(void) {
    fake.rise = MIB;
    run_limited((mw_sampler_options){.total_limit = 100 * MIB}, MIB, 60);
    CHECK(dense(50) == 0);
    fake.sleeps = 0;
    run_limited((mw_sampler_options){.process_limit = 100 * MIB}, 71 * MIB, 29);
    CHECK(dense(20) > 10);
    fake.sleeps = 0;
    fake.rise = 10 * MIB;
    run_limited((mw_sampler_options){.pss_limit = 200 * MIB}, MIB, 16);
    CHECK(dense(8) > 4);
}

/* A size that stands still close to its limit costs no more than others. */
static void still_near_a_limit(void) {
    run_limited((mw_sampler_options){.total_limit = 100 * MIB}, 95 * MIB, 9);
    CHECK_TICKS({0, MW_TICK_EXTRA, 0}, {1, MW_TICK_EXTRA, 0},
                {3, MW_TICK_EXTRA, 0}, {7, MW_TICK_EXTRA, 0},
                {15, MW_TICK_EXTRA, 0}, {25, 0, 0}, {35, 0, 0}, {45, 0, 0},
                {55, 0, 0}, {65, 0, 0}, {65, MW_TICK_EXTRA, 0});
}

/* The reader is woken when a limit is exceeded, and again when the size has
   grown on by 1 % and a MiB. */
static void alarms(void) {
    static const struct {
        uint64_t rss;
        int wakes;
    } steps[] = {{100, 0}, {101, 1}, {103, 0}, {50, 0}, {104, 1}, {105, 0}};
    static mw_observation records[64];
    char text[64];
    mw_sampler *sampler;
    mw_sampler_options options = {.proc_root = "/proc",
                                  .interval = MS,
                                  .batch = 1000000 * MS,
                                  .total_limit = 100 * MIB};
    fake.sleeps_until_exit = 1000;
    fake.now = BEGIN;
    CHECK(!mw_sampler_new(&options, &sampler));
    /* The first tick always wakes. */
    CHECK(!mw_sampler_tick(sampler, ROOT, BEGIN));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        size_t count, text_count;
        CHECK(mw_sampler_wait(sampler, -1, 0) >= 0);
        CHECK(!mw_sampler_read(sampler, records, 64, text, sizeof text, &count,
                               &text_count));
        fake.rss = steps[i].rss * MIB;
        CHECK(!mw_sampler_tick(sampler, ROOT, BEGIN + (int64_t)(i + 1) * MS));
        CHECK(mw_sampler_wait(sampler, -1, 0) ==
              (steps[i].wakes ? MW_WAKE_BATCH : 0));
    }
    mw_sampler_free(sampler);
}

/* Available memory is read every 10 ms, and reported when it is lower than
   ever, or too low. */
static void available(void) {
    fake.available = 500 * MIB;
    run_limited((mw_sampler_options){.min_available = 100 * MIB}, MIB, 20);
    size_t count = 0;
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].kind == MW_AVAILABLE) {
            CHECK(seen[i].value == 500 * MIB && seen[i].time == BEGIN);
            CHECK(seen[i].valid == MW_IN_GROUP && !seen[i].process);
            count++;
        }
    CHECK(count == 1);
    fake.sleeps = 0;
    fake.available = 99 * MIB;
    run_limited((mw_sampler_options){.min_available = 100 * MIB}, MIB, 12);
    count = 0;
    for (size_t i = 0; i < seen_count; i++)
        count += seen[i].kind == MW_AVAILABLE;
    /* At 0, 15, 25, and so on up to 95. */
    CHECK(count == 10);
}

static const test_case CASES[] = {
    {"on-time", on_time},
    {"short-interval", short_interval},
    {"late", late},
    {"skipped", skipped},
    {"skipped-extra", skipped_extra},
    {"first-tick-fails", first_tick_fails},
    {"later-tick-fails", later_tick_fails},
    {"own-clock-fails", own_clock_fails},
    {"lagging-reader", lagging_reader},
    {"near-a-limit", near_a_limit},
    {"still-near-a-limit", still_near_a_limit},
    {"alarms", alarms},
    {"available", available},
};

int main(int argc, char **argv) {
    CHECK(argc == 2);
    FIND_CASE(CASES, argv[1])->run();
    return 0;
}
