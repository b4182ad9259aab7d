/* Files in memory that the job writes: macOS has no file systems in memory of
   its own. */
#include <errno.h>

#include "state.h"

int mw_platform_written(const mw_platform *p, int32_t pid,
                        void (*found)(void *context, const mw_written *file),
                        void *context) {
    (void)p, (void)pid, (void)found, (void)context;
    return -ENOTSUP;
}

enum mw_written_state mw_platform_written_again(const mw_platform *p,
                                                mw_written *file) {
    (void)p, (void)file;
    return MW_WRITTEN_GONE;
}
