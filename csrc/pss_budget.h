/* How much of the time sums of proportional set sizes may take. Pure. */
#ifndef MW_PSS_BUDGET_H
#define MW_PSS_BUDGET_H

#include <stdint.h>

/* In ns. {0} is the beginning. */
typedef struct mw_pss_budget {
    double left;    /* below 0 if a sweep took longer than expected */
    double allowed; /* in all the time that was paid for */
    int is_full;    /* as much is left as is ever saved */
} mw_pss_budget;

/* Returns how many ns all sweeps may have taken `elapsed` ns after the first
   tick, whichever is most: 5 ms, which is enough for some 300 MiB; 5 % of the
   time, up to 20 ms; 2 % of the time. */
double mw_pss_allowance(int64_t elapsed);

/* Adds what sweeps may take since the last call. What is not used is saved for
   a few sweeps of this cost, so that even after an idle hour they do not come
   all at once. */
void mw_pss_pay_in(mw_pss_budget *budget, int64_t elapsed, double cost);

#endif
