/* Which event sources work here. */
#include <errno.h>

#include "kqueues.h"

int mw_probe(uint32_t source) {
    if (source != MW_KQUEUE)
        return -ENOTSUP;
    mw_kqueues kqueues;
    int event_error = 0;
    int error = mw_kqueues_open(&kqueues, 1, &event_error);
    mw_kqueues_close(&kqueues);
    return error ? error : event_error;
}
