/* Which event sources work here. */
#include <errno.h>

#include "feed.h"

int mw_probe(uint32_t source) {
    (void)source;
    return -ENOTSUP;
}
