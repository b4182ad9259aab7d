/*
 * follow_details.c on a platform made up here: how much time details may take,
 * which processes are worth it, and what is reported once and not again.
 */
#include "follow_parts.h"

#include <errno.h>

#include "check.h"

/* The same values as in follow_details.c. */
enum { COST = 30000, MOST_CREDIT = 5000000 };

static const int64_t MS = 1000000;
static const int64_t BEGIN = 1000000000;
static const uint64_t MIB = 1 << 20;
static const uint64_t PAGE = 4096;

/* --- platform.h --- */

static uint64_t huge_faults;

uint64_t mw_platform_huge_faults(const mw_platform *platform) {
    (void)platform;
    return huge_faults;
}

uint64_t mw_platform_page(const mw_platform *platform) {
    (void)platform;
    return PAGE;
}

/* --- follow_say.c --- */

static mw_observation said[8];
static size_t said_count;
static int out_of_memory;

mw_observation *mw_observe(mw_follower *f, int64_t time, uint32_t kind,
                           const mw_slot *slot) {
    (void)f;
    CHECK(said_count < sizeof said / sizeof *said);
    if (out_of_memory)
        return NULL;
    mw_observation *record = &said[said_count++];
    *record = (mw_observation){.time = time, .kind = kind};
    if (slot) {
        record->process = slot->serial;
        record->pid = slot->pid;
    }
    return record;
}

/* --- what the tests share --- */

/* Checks that one observation was made since the last call, and returns it. */
static mw_observation the_only(uint32_t kind, uint64_t process) {
    CHECK(said_count == 1);
    CHECK(said[0].kind == kind && said[0].process == process);
    said_count = 0;
    return said[0];
}

static mw_follower follower_with(uint64_t total) {
    said_count = 0;
    huge_faults = 0;
    return (mw_follower){
        .total = total, .has_shared = 1, .details = {.has_family = 1}};
}

/* A process that is worth its details at every tick: it was forked and has
   executed nothing. */
static const mw_slot FORKED = {.serial = 2, .pid = 200, .inherited = 1};
static const mw_reading GROWN = {
    .valid = MW_HAS_RSS | MW_HAS_SHARED, .rss = 1 << 20, .shared = 0};

/* Returns how many processes may be read at one tick. */
static long affordable(mw_follower *f) {
    long count = 0;
    f->details.is_affordable = f->details.has_family = 1;
    while (mw_wants_details(f, &FORKED, &GROWN))
        CHECK(++count < 10000);
    CHECK(f->details.missed);
    return count;
}

/* Returns how many of so many processes are read at a tick. */
static int reads(mw_follower *f, int64_t time, int processes) {
    int count = 0;
    mw_begin_details(f, time);
    for (int i = 0; i < processes; i++)
        count += mw_wants_details(f, &FORKED, &GROWN);
    return count;
}

/* --- credit --- */

/* The first tick has all of the credit; then there is 1 part in 100 of the
   time, up to as much as at the beginning. */
static void test_credit(void) {
    mw_follower f = follower_with(100 * MIB);
    mw_begin_details(&f, BEGIN);
    CHECK(affordable(&f) == MOST_CREDIT / COST);
    int64_t left = f.details.credit.left;
    CHECK(left >= 0 && left < COST);

    mw_begin_details(&f, BEGIN + 10 * MS);
    CHECK(f.details.credit.left == left + 10 * MS / 100);
    CHECK(affordable(&f) == (left + 10 * MS / 100) / COST);

    mw_begin_details(&f, BEGIN + 3600 * 1000 * MS);
    CHECK(f.details.credit.left == MOST_CREDIT);
    CHECK(affordable(&f) == MOST_CREDIT / COST);
    /* No time has passed since. */
    mw_begin_details(&f, BEGIN + 3600 * 1000 * MS);
    CHECK(affordable(&f) == 0);
}

/* All processes are read at a tick, or none: credit is saved for as many as
   there were at the tick before. */
static void test_all_or_none(void) {
    mw_follower f = follower_with(100 * MIB);
    enum { PROCESSES = 10, PAID = 10 * COST };
    const int64_t enough = PAID * 100; /* ns in which so much is earned */
    CHECK(reads(&f, BEGIN, PROCESSES) == PROCESSES);
    f.details.credit.left = 0;
    CHECK(reads(&f, BEGIN + enough - 200, PROCESSES) == 0);
    CHECK(f.details.missed && f.details.credit.left == PAID - 2);
    CHECK(reads(&f, BEGIN + enough, PROCESSES) == PROCESSES);
    CHECK(!f.details.missed && f.details.credit.left == 0);
    /* More than can ever be paid for: what is possible. */
    f.details.wanted = 10 * MOST_CREDIT / COST;
    f.details.credit.left = MOST_CREDIT;
    CHECK(reads(&f, BEGIN + enough, 10 * MOST_CREDIT / COST) ==
          MOST_CREDIT / COST);
    CHECK(f.details.missed);
}

/* While the total is below three quarters of the highest, half of the credit is
   kept, and is there when it rises again. */
static void test_reserve(void) {
    mw_follower f = follower_with(400 * MIB);
    mw_begin_details(&f, BEGIN);
    CHECK(f.details.highest == 400 * MIB && !f.details.reserve);
    f.total = 300 * MIB;
    mw_begin_details(&f, BEGIN);
    CHECK(!f.details.reserve);
    f.total = 299 * MIB;
    mw_begin_details(&f, BEGIN);
    CHECK(f.details.reserve == MOST_CREDIT / 2);
    CHECK(affordable(&f) == MOST_CREDIT / 2 / COST);
    CHECK(f.details.credit.left >= MOST_CREDIT / 2);
    f.total = 401 * MIB;
    mw_begin_details(&f, BEGIN);
    CHECK(f.details.highest == 401 * MIB && !f.details.reserve);
    CHECK(affordable(&f) >= MOST_CREDIT / 2 / COST);
    /* Totals for which a product would not fit 64 bits. */
    f.total = UINT64_MAX;
    mw_begin_details(&f, BEGIN);
    CHECK(!f.details.reserve);
    f.total = UINT64_MAX / 2;
    mw_begin_details(&f, BEGIN);
    CHECK(f.details.reserve);
}

/* --- which processes --- */

static void test_wants(void) {
    static const struct {
        mw_slot slot;
        uint32_t valid;
        uint64_t rss, shared, size;
        int wanted;
    } cases[] = {
        /* The system does not say what is shared. */
        {{.inherited = 1}, MW_HAS_RSS, 9 << 20, 0, 0, 0},
        /* It shares no pages, and nothing has changed. */
        {{0}, MW_HAS_SHARED, 9 << 20, 0, 0, 0},
        /* It may share pages with the process that forked it, or with those
           that it has forked. */
        {{.inherited = 1}, MW_HAS_SHARED, 1 << 20, 0, 0, 1},
        {{.has_forks = 1}, MW_HAS_SHARED, 1 << 20, 0, 0, 1},
        /* Too few to matter, also where most is files. */
        {{.inherited = 1}, MW_HAS_SHARED, (1 << 20) - 1, 0, 0, 0},
        {{.inherited = 1, .parts_shared = 9 << 20},
         MW_HAS_SHARED,
         (10 << 20) - 1,
         9 << 20,
         0,
         0},
        /* Few now, but it had more: the report of that is renewed. */
        {{.inherited = 1, .has_faults = 1}, MW_HAS_SHARED, 0, 0, 0, 1},
        /* What it shares, and its address space, have changed by a MiB since
           its parts were read: up or down. */
        {{0}, MW_HAS_SHARED, 1 << 20, 1 << 20, 0, 1},
        {{0}, MW_HAS_SHARED, 1 << 20, (1 << 20) - 1, 0, 0},
        {{.parts_shared = 3 << 20}, MW_HAS_SHARED, 2 << 20, 2 << 20, 0, 1},
        {{0}, MW_HAS_SHARED, 0, 0, 1 << 20, 1},
        {{.parts_size = 2 << 20}, MW_HAS_SHARED, 0, 0, 1 << 20, 1},
        {{.parts_size = 2 << 20}, MW_HAS_SHARED, 0, 0, 2 << 20, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mw_follower f = follower_with(MIB);
        mw_begin_details(&f, BEGIN);
        mw_reading reading = {.valid = cases[i].valid,
                              .rss = cases[i].rss,
                              .shared = cases[i].shared,
                              .size = cases[i].size};
        CHECK(mw_wants_details(&f, &cases[i].slot, &reading) ==
              cases[i].wanted);
        /* Only what is read costs, and what is not wanted is not missed. */
        CHECK(f.details.credit.left == MOST_CREDIT - cases[i].wanted * COST);
        CHECK(!f.details.missed);
    }
}

/* --- what is reported --- */

static void test_faults_once(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slot = FORKED;
    mw_begin_details(&f, BEGIN);
    /* None at all is news as well, the first time. */
    CHECK(!mw_report_faults(&f, &slot, BEGIN, 0));
    mw_observation seen = the_only(MW_FAULTS, 2);
    CHECK(seen.value == 0 && seen.valid == MW_HAS_FAULTS && seen.pid == 200);
    CHECK(!mw_report_faults(&f, &slot, BEGIN + 1, 0) && !said_count);
    CHECK(!mw_report_faults(&f, &slot, BEGIN + 2, 7));
    seen = the_only(MW_FAULTS, 2);
    CHECK(seen.value == 7 * PAGE && seen.time == BEGIN + 2);
    CHECK(!mw_report_faults(&f, &slot, BEGIN + 3, 7) && !said_count);
}

/* Faults count only where pages may be shared. */
static void test_faults_of_own_image(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slot = {.serial = 3};
    mw_inspection seen = {.valid = MW_HAS_FAULTS, .faults = 5};
    mw_reading reading = {0};
    mw_begin_details(&f, BEGIN);
    CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
    CHECK(!said_count && !slot.has_faults);
    slot.has_forks = 1;
    CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
    CHECK(the_only(MW_FAULTS, 3).value == 5 * PAGE);
    seen.valid = 0; /* not read */
    seen.faults = 6;
    CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
    CHECK(!said_count && slot.faults_reported == 5);
}

static void test_parts_once(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slot = {.serial = 4};
    mw_inspection seen = {0};
    mw_reading reading = {.shared = 5 * MIB, .size = 90 * MIB};
    mw_begin_details(&f, BEGIN);
    /* Not read: it is read at the next occasion. */
    CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
    CHECK(!said_count && !slot.parts_shared && !slot.parts_size);
    /* Read, and nothing is there: nothing to report, nor to read again. */
    seen.has_parts = 1;
    CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
    CHECK(!said_count);
    CHECK(slot.parts_shared == 5 * MIB && slot.parts_size == 90 * MIB);
    /* Each of them is reported when it changes, with the others. */
    const mw_parts steps[] = {{1, 0, 0}, {1, 2, 0}, {1, 2, 3}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        seen.parts = steps[i];
        CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
        mw_observation got = the_only(MW_PARTS, 4);
        CHECK(got.value == steps[i].shmem && got.second == steps[i].swapped &&
              got.third == steps[i].huge);
        CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
        CHECK(!said_count);
    }
}

static void test_out_of_memory(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slot = FORKED;
    mw_inspection seen = {.has_parts = 1, .parts = {.shmem = MIB}};
    mw_reading reading = {0};
    mw_begin_details(&f, BEGIN);
    out_of_memory = 1;
    CHECK(mw_report_faults(&f, &slot, BEGIN, 1) == -ENOMEM);
    CHECK(mw_report_details(&f, &slot, BEGIN, &reading, &seen) == -ENOMEM);
    out_of_memory = 0;
    CHECK(!mw_report_details(&f, &slot, BEGIN, &reading, &seen));
    CHECK(the_only(MW_PARTS, 2).value == MIB);
}

/* --- the end of a tick --- */

static uint32_t flags_at_the_end(mw_follower *f, int64_t time) {
    uint32_t flags = 0;
    CHECK(!mw_end_details(f, time, &flags));
    return flags;
}

/* A tick is detailed if nothing that was wanted was missed, and the system says
   what is shared. */
static void test_detailed(void) {
    mw_follower f = follower_with(MIB);
    mw_begin_details(&f, BEGIN);
    CHECK(flags_at_the_end(&f, BEGIN) == MW_TICK_DETAILED);
    affordable(&f);
    CHECK(flags_at_the_end(&f, BEGIN) == 0);
    mw_begin_details(&f, BEGIN + 10 * MS);
    CHECK(flags_at_the_end(&f, BEGIN + 10 * MS) == MW_TICK_DETAILED);
    f.has_shared = 0;
    CHECK(flags_at_the_end(&f, BEGIN + 10 * MS) == 0);
    CHECK(!said_count);
}

/* A process whose children have all executed something shares no pages. At the
   tick at which it has forked again it may have been skipped: then it is read
   at the next. */
static void test_family(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slots[2] = {{.has_forks = 1}, {.inherited = 1}};
    f.table = (mw_table){.slots = slots, .count = 2};
    mw_begin_details(&f, BEGIN);
    CHECK(mw_wants_details(&f, &slots[0], &GROWN));
    CHECK(flags_at_the_end(&f, BEGIN) == MW_TICK_DETAILED);
    CHECK(f.details.has_family);
    slots[1].ended = 1;
    mw_begin_details(&f, BEGIN);
    CHECK(mw_wants_details(&f, &slots[0], &GROWN)); /* for the last time */
    CHECK(flags_at_the_end(&f, BEGIN) == MW_TICK_DETAILED);
    mw_begin_details(&f, BEGIN);
    CHECK(!mw_wants_details(&f, &slots[0], &GROWN));
    CHECK(flags_at_the_end(&f, BEGIN) == MW_TICK_DETAILED);
    mw_begin_details(&f, BEGIN);
    CHECK(!mw_wants_details(&f, &slots[0], &GROWN));
    f.details.has_family = 1; /* another is found, and ends at once */
    CHECK(flags_at_the_end(&f, BEGIN) == 0 && f.details.has_family);
    mw_begin_details(&f, BEGIN);
    CHECK(mw_wants_details(&f, &slots[0], &GROWN));
    CHECK(flags_at_the_end(&f, BEGIN) == MW_TICK_DETAILED);
    CHECK(!f.details.has_family);
}

/* Huge pages of the machine are read and reported only at ticks that report
   faults of some process, and only those since the first tick. */
static void test_huge_faults(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slot = FORKED;
    huge_faults = 100 * MIB;
    mw_begin_details(&f, BEGIN);
    huge_faults = 102 * MIB;
    flags_at_the_end(&f, BEGIN);
    CHECK(!said_count && f.details.credit.left == MOST_CREDIT);

    CHECK(!mw_report_faults(&f, &slot, BEGIN, 1));
    the_only(MW_FAULTS, 2);
    flags_at_the_end(&f, BEGIN);
    CHECK(the_only(MW_FAULTS, 0).value == 2 * MIB);
    CHECK(f.details.credit.left == MOST_CREDIT - COST);

    /* No more since: read, which has its cost, and not reported. */
    mw_begin_details(&f, BEGIN);
    CHECK(!mw_report_faults(&f, &slot, BEGIN, 2));
    the_only(MW_FAULTS, 2);
    flags_at_the_end(&f, BEGIN);
    CHECK(!said_count && f.details.credit.left == MOST_CREDIT - 2 * COST);
}

/* Where the machine has none, or cannot be asked any more, there is nothing to
   report and nothing to pay. */
static void test_no_huge_faults(void) {
    for (uint64_t before = 0; before <= 100 * MIB; before += 100 * MIB) {
        mw_follower f = follower_with(MIB);
        mw_slot slot = FORKED;
        huge_faults = before;
        mw_begin_details(&f, BEGIN);
        huge_faults = 0;
        CHECK(!mw_report_faults(&f, &slot, BEGIN, 1));
        the_only(MW_FAULTS, 2);
        flags_at_the_end(&f, BEGIN);
        CHECK(!said_count && f.details.credit.left == MOST_CREDIT);
    }
}

/* Where a fault may give any number of pages, no faults are reported. */
static void test_any_size(void) {
    mw_follower f = follower_with(MIB);
    mw_slot slot = FORKED;
    huge_faults = MW_ANY_SIZE;
    mw_begin_details(&f, BEGIN);
    CHECK(!mw_report_faults(&f, &slot, BEGIN, 1));
    flags_at_the_end(&f, BEGIN);
    CHECK(!said_count && !slot.has_faults);
    CHECK(f.details.credit.left == MOST_CREDIT);
}

int main(void) {
    test_credit();
    test_all_or_none();
    test_reserve();
    test_wants();
    test_faults_once();
    test_faults_of_own_image();
    test_parts_once();
    test_out_of_memory();
    test_detailed();
    test_family();
    test_huge_faults();
    test_no_huge_faults();
    test_any_size();
    return 0;
}
