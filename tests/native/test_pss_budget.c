/* pss_budget.c: how much of the time sums may take, at once and in all. */
#include "check.h"
#include "pss_budget.h"

static const int64_t MS = 1000000;

static int is(double value, double expected) {
    return value > expected - 1 && value < expected + 1;
}

static double after(int64_t ms) {
    return mw_pss_allowance(ms * MS) / (double)MS;
}

static void allowances(void) {
    CHECK(after(0) == 5 && after(1) == 5 && after(100) == 5);
    CHECK(after(200) == 10 && after(399) < 20 && after(400) == 20);
    CHECK(after(401) == 20 && after(1000) == 20);
    CHECK(after(1500) == 30 && after(3600000) == 72000);
    for (int64_t ms = 100; ms < 5000; ms++) {
        CHECK(after(ms) >= after(ms - 1));
        CHECK(after(ms) <= (double)ms * (ms < 1000 ? 0.05 : 0.02) + 1e-9);
    }
}

/* What is paid in is what is allowed, however often that is done. */
static void in_steps(void) {
    uint64_t random = 4711;
    mw_pss_budget budget = {0};
    double cost = 1e12; /* so that nothing is lost */
    for (int64_t time = 0; time < 5000 * MS;
         time += (int64_t)below(&random, 50) * MS) {
        mw_pss_pay_in(&budget, time, cost);
        CHECK(is(budget.left, mw_pss_allowance(time)));
        CHECK(!budget.is_full);
        /* A time that was paid for is not paid for again. */
        mw_pss_pay_in(&budget, time / 2, cost);
        CHECK(is(budget.left, mw_pss_allowance(time)));
    }
}

/* No more is saved than a few sweeps cost, or a short job may take. */
static void savings(void) {
    mw_pss_budget budget = {0};
    mw_pss_pay_in(&budget, 300 * MS, 100e6);
    CHECK(is(budget.left, 15e6) && !budget.is_full);
    mw_pss_pay_in(&budget, 3600000 * MS, 100e6);
    CHECK(is(budget.left, 800e6) && budget.is_full);
    mw_pss_pay_in(&budget, 3600000 * MS, 1e6);
    CHECK(is(budget.left, 20e6) && budget.is_full);
    budget.left -= 30e6;
    mw_pss_pay_in(&budget, 3600000 * MS + 1000 * MS, 1e6);
    CHECK(is(budget.left, 10e6) && !budget.is_full);
}

int main(void) {
    allowances();
    in_steps();
    savings();
    return 0;
}
