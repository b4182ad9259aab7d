/* Which event sources work here. */
#include <errno.h>

#include "feed.h"

int mw_probe(uint32_t source) {
    (void)source;
    return -ENOTSUP;
}

int mw_connector_open(mw_feed **out) {
    *out = NULL;
    return -ENOTSUP;
}

int mw_perf_open(mw_feed **out) {
    *out = NULL;
    return -ENOTSUP;
}

int mw_taskstats_open(mw_feed **out) {
    *out = NULL;
    return -ENOTSUP;
}
