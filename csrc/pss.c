#include "pss.h"

#include <errno.h>

int mw_pss_new(const mw_platform *platform, int32_t mode, mw_pss **out) {
    (void)platform, (void)mode;
    *out = NULL;
    return 0;
}

int mw_pss_offer(mw_pss *pss, int64_t time, uint64_t total,
                  const mw_table *table) {
    (void)pss, (void)time, (void)total, (void)table;
    return 0;
}

int mw_pss_take(mw_pss *pss, mw_observation *out) {
    (void)pss, (void)out;
    return 0;
}

void mw_pss_free(mw_pss *pss) { (void)pss; }
