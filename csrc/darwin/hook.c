/* The exit hook, which macOS does not have. */
#include <errno.h>

#include "platform.h"

int mw_hook_new(mw_hook **out) {
    *out = NULL;
    return -ENOTSUP;
}

int mw_hook_state(const mw_hook *hook) {
    (void)hook;
    return -ENOTSUP;
}

void mw_hook_free(mw_hook *hook) { (void)hook; }

void mw_hook_install(mw_hook *hook) { (void)hook; }
