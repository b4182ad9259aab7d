/* Which event sources work here. */
#include <errno.h>

#include "events.h"

int mw_probe(uint32_t source) {
    if (source != MW_KQUEUE)
        return -ENOTSUP;
    mw_events events;
    int news_error = 0;
    int error = mw_events_open(&events, 1, &news_error);
    mw_events_close(&events);
    return error ? error : news_error;
}
