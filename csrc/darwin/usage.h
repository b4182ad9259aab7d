/* What a process holds and has used. */
#ifndef MW_DARWIN_USAGE_H
#define MW_DARWIN_USAGE_H

#include <stdint.h>

/* Bytes and nanoseconds, but where it says ticks: of the kernel's clock, which
   stands still while the machine sleeps. */
typedef struct mw_account {
    uint64_t started; /* ticks; with the pid, who it is */
    uint64_t ended;   /* ticks; when it began to exit. 0: not yet */
    uint64_t rss;
    uint64_t footprint;      /* 0 since it began to exit */
    uint64_t footprint_peak; /* of its last image; a zombie keeps it */
    uint64_t read_bytes;     /* from storage, as written */
    uint64_t written_bytes;
    int64_t user;
    int64_t system;
    int had_children;    /* it has waited for some */
    uint8_t program[16]; /* the executable's LC_UUID */
} mw_account;

/* Ticks of the kernel's clock in a second, or 0. */
uint64_t mw_kernel_frequency(void);

/* Ticks in nanoseconds. */
int64_t mw_ticks_to_ns(uint64_t ticks, uint64_t frequency);

/* When the kernel's clock showed `ticks`, not long ago, on the clock of
   mw_now(). -ENOTSUP where this process cannot see that clock. */
int mw_time_of_ticks(uint64_t ticks, uint64_t frequency, int64_t *time);

/* Of a process, a zombie too: 0; -ESRCH; -EPERM: of another user. */
int mw_read_account(int32_t pid, uint64_t frequency, mw_account *out);

#endif
