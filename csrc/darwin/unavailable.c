/* What macOS has not. */
#include <errno.h>

#include "platform.h"

/* Orphans are launchd's, whatever one does. */
int mw_subreaper(int enable, int *previous) {
    (void)enable;
    *previous = 0;
    return -ENOTSUP;
}

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

/* No process tells how many others share its pages. */
int mw_platform_pss(const mw_platform *p, int32_t pid, uint64_t *pss) {
    (void)p, (void)pid;
    *pss = 0;
    return -ENOTSUP;
}

/* There are no high-water marks of the resident size. */
uint64_t mw_platform_roughness(const mw_platform *p) {
    (void)p;
    return 0;
}
