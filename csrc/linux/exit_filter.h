/*
 * The seccomp filter of the exit hook. It asks about the calls by which a
 * program ends or is replaced, in every way that this machine's programs may
 * make them, and lets all others pass.
 */
#ifndef MW_LINUX_EXIT_FILTER_H
#define MW_LINUX_EXIT_FILTER_H

#include <stdint.h>

enum mw_filter_call { MW_CALL_OTHER, MW_CALL_EXIT, MW_CALL_EXEC };

/* Which call a notification is about. `architecture` is an AUDIT_ARCH_*. */
enum mw_filter_call mw_filter_call(uint32_t architecture, uint32_t number);

/*
 * Puts the calling thread under the filter, for good: the listener's
 * descriptor (close-on-exec), or -errno. Without privilege it also sets
 * no_new_privs. While nobody listens, the calls wait; when the last listener is
 * closed, they fail with ENOSYS.
 *
 * -ENOTSUP: an architecture, or a kernel, that this has not been made for.
 * -EBUSY: the thread is under a filter with a listener already.
 */
int mw_filter_install(void);

#endif
