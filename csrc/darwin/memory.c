/* Memory that is not read at every tick. */
#include <errno.h>
#include <libproc.h>
#include <unistd.h>

#include "state.h"

/* macOS does not say how many processes share a page. */
int mw_platform_pss(const mw_platform *p, int32_t pid, mw_shares *out) {
    (void)p, (void)pid;
    *out = (mw_shares){0};
    return -ENOTSUP;
}

int mw_platform_memory(const mw_platform *p, int32_t pid, mw_memory *out) {
    mw_account account;
    int error = mw_read_account(pid, p->frequency, &account);
    *out = (mw_memory){.rss = error ? 0 : account.rss};
    return error;
}

/* macOS has no high-water marks of the resident size. */
uint64_t mw_platform_roughness(const mw_platform *p) {
    (void)p;
    return 0;
}

uint64_t mw_platform_page(const mw_platform *p) {
    (void)p;
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* macOS has no transparent huge pages. */
uint64_t mw_platform_huge_faults(const mw_platform *p) {
    (void)p;
    return 0;
}

/* Until macOS 12 a child of vfork() has its parent's memory until it executes
   something, for which the parent waits. From then on vfork() is fork(). */
int mw_platform_shares_memory(const mw_platform *p, int32_t pid,
                              int32_t other) {
    char name[16];
    uint32_t flags;
    (void)p, (void)other;
    return !mw_ask_name(pid, name, &flags) && (flags & PROC_FLAG_PPWAIT) != 0;
}
