/* watch.c: when a size wakes the reader, and when it is near its limit. */
#include "watch.h"

#include "check.h"

static const int64_t MS = 1000000;
static const int64_t INTERVAL = 10000000;
static const uint64_t MIB = 1 << 20;

static mw_watch limited(uint64_t limit) {
    return (mw_watch){.limit = limit, .alarm = limit};
}

static void test_grown(void) {
    CHECK(mw_watch_grown(0) == MIB);
    CHECK(mw_watch_grown(100 * MIB) == 102 * MIB);
    CHECK(mw_watch_grown(1000 * MIB) == 1011 * MIB);
}

static void test_alarms(void) {
    static const struct {
        uint64_t size;
        int alarms;
    } steps[] = {
        {0, 0},
        {100 * MIB, 0}, /* the limit itself is allowed */
        {100 * MIB + 1, 1},
        {100 * MIB + 1, 0},
        {102 * MIB + 1, 0}, /* 1 % and a MiB more, to the byte below */
        {103 * MIB, 1},
        {1, 0}, /* it shrinks, and is not forgiven */
        {104 * MIB, 0},
        {106 * MIB, 1},
    };
    mw_watch w = limited(100 * MIB);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        CHECK(mw_watch_alarms(&w, steps[i].size) == steps[i].alarms);
}

static void test_no_limit(void) {
    mw_watch w = {0};
    for (int64_t i = 1; i < 10; i++) {
        uint64_t size = UINT64_MAX / 16 * (uint64_t)i;
        CHECK(!mw_watch_alarms(&w, size));
        CHECK(!mw_watch_is_near(&w, size, i * INTERVAL, INTERVAL));
    }
}

/* Feeds sizes in MiB, one each interval, and returns whether the last is near
   a limit of 100 MiB. */
static int near_after(const uint64_t *sizes, size_t count) {
    mw_watch w = limited(100 * MIB);
    int near = 0;
    for (size_t i = 0; i < count; i++)
        near = mw_watch_is_near(&w, sizes[i] * MIB, (int64_t)(i + 1) * INTERVAL,
                                INTERVAL);
    return near;
}

static void test_near(void) {
    static const struct {
        uint64_t sizes[4];
        size_t count;
        int near;
    } cases[] = {
        /* The first size says nothing of a rise. */
        {{99}, 1, 0},
        {{99, 99}, 2, 0},
        /* It rises above 4 parts in 5. */
        {{79, 80}, 2, 0},
        {{80, 81}, 2, 1},
        /* It has risen lately, and stands or falls there. */
        {{80, 81, 81}, 3, 1},
        {{80, 90, 85}, 3, 1},
        {{80, 90, 80}, 3, 0},
        /* It would exceed the limit within three ticks. */
        {{10, 32}, 2, 0},
        {{10, 33}, 2, 1},
        {{0, 25}, 2, 0}, /* exactly the limit */
        {{0, 26}, 2, 1},
        {{50, 51}, 2, 0},
        /* It fell before it rose. */
        {{90, 10, 11}, 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(near_after(cases[i].sizes, cases[i].count) == cases[i].near);
}

/* A size that stands still close to its limit is near for a second. */
static void test_near_for_a_second(void) {
    mw_watch w = limited(100 * MIB);
    int64_t risen = 2 * INTERVAL;
    CHECK(!mw_watch_is_near(&w, 80 * MIB, INTERVAL, INTERVAL));
    CHECK(mw_watch_is_near(&w, 90 * MIB, risen, INTERVAL));
    CHECK(mw_watch_is_near(&w, 90 * MIB, risen + 1000 * MS - 1, INTERVAL));
    CHECK(!mw_watch_is_near(&w, 90 * MIB, risen + 1000 * MS, INTERVAL));
    /* And again once it rises. */
    CHECK(mw_watch_is_near(&w, 91 * MIB, risen + 1010 * MS, INTERVAL));
    CHECK(mw_watch_is_near(&w, 91 * MIB, risen + 1020 * MS, INTERVAL));
}

/* The rise counts by the time that it took, not by the number of ticks. */
static void test_slow_rise(void) {
    mw_watch w = limited(100 * MIB);
    CHECK(!mw_watch_is_near(&w, 10 * MIB, INTERVAL, INTERVAL));
    CHECK(!mw_watch_is_near(&w, 70 * MIB, 101 * INTERVAL, INTERVAL));
}

/* Sizes and limits that no sum of 64 bits could hold. */
static void test_huge(void) {
    mw_watch w = limited(UINT64_MAX);
    CHECK(!mw_watch_is_near(&w, 0, INTERVAL, INTERVAL));
    CHECK(mw_watch_is_near(&w, UINT64_MAX, 2 * INTERVAL, INTERVAL));
    CHECK(!mw_watch_alarms(&w, UINT64_MAX));
}

int main(void) {
    test_grown();
    test_alarms();
    test_no_limit();
    test_near();
    test_near_for_a_second();
    test_slow_rise();
    test_huge();
    return 0;
}
