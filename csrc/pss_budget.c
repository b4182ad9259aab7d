/* How much of the time sums of proportional set sizes may take. */
#include "pss_budget.h"

static const double AT_ONCE = 5e6;
static const double SHORT_SHARE = 0.05;
static const double MOST_OF_SHORT = 20e6;
static const double SHARE = 0.02;

/* What is not used is saved for this many sweeps, or as much as a short job may
   take. */
static const double MOST_SAVED = 8;

static double least(double a, double b) { return a < b ? a : b; }

static double most(double a, double b) { return a > b ? a : b; }

double mw_pss_allowance(int64_t elapsed) {
    double time = (double)elapsed;
    double of_short = least(time * SHORT_SHARE, MOST_OF_SHORT);
    return most(most(AT_ONCE, of_short), time * SHARE);
}

void mw_pss_pay_in(mw_pss_budget *b, int64_t elapsed, double cost) {
    double allowed = most(mw_pss_allowance(elapsed), b->allowed);
    double saved = most(cost * MOST_SAVED, MOST_OF_SHORT);
    b->left += allowed - b->allowed;
    b->allowed = allowed;
    b->is_full = b->left >= saved;
    b->left = least(b->left, saved);
}
