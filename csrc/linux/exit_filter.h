/*
 * The seccomp filter of the exit hook. It notifies a listener of the calls by
 * which a program ends or is replaced, in every ABI that this machine's
 * programs may use, and lets all other calls pass.
 */
#ifndef MW_LINUX_EXIT_FILTER_H
#define MW_LINUX_EXIT_FILTER_H

#include <stdint.h>

enum mw_filter_call { MW_CALL_OTHER, MW_CALL_EXIT, MW_CALL_EXEC };

/* Returns which call a notification is about. `architecture` is
   AUDIT_ARCH_*. */
enum mw_filter_call mw_filter_call(uint32_t architecture, uint32_t number);

/*
 * Puts the calling thread under the filter, for good. Returns the listener's
 * descriptor (close-on-exec), or -errno. Without privilege it also sets
 * no_new_privs. Calls wait until the listener answers; once the last listener
 * is closed, they fail with ENOSYS.
 *
 * -ENOTSUP: the filter does not know this architecture or kernel.
 * -EBUSY: the thread is under a filter with a listener already.
 */
int mw_filter_install(void);

#endif
