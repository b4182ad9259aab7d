/* What a process holds and has used. */
#ifndef MW_DARWIN_USAGE_H
#define MW_DARWIN_USAGE_H

#include <stdint.h>

/* Bytes and nanoseconds; some times are in ticks of the kernel's clock, which
   stands still while the machine sleeps. */
typedef struct mw_account {
    uint64_t started; /* ticks; with the pid, its identity */
    uint64_t ended;   /* ticks; when it began to exit. 0: not yet */
    uint64_t rss;
    uint64_t footprint;      /* 0 since it began to exit */
    uint64_t footprint_peak; /* of its last image; a zombie keeps it */
    uint64_t read_bytes;     /* from storage */
    uint64_t written_bytes;
    int64_t user;
    int64_t system;
    int had_children;    /* it has waited for children */
    uint8_t program[16]; /* the executable's LC_UUID */
} mw_account;

/* Returns how many ticks of the kernel's clock are in a second, or 0. */
uint64_t mw_kernel_frequency(void);

/* Converts ticks to nanoseconds. */
int64_t mw_ticks_to_ns(uint64_t ticks, uint64_t frequency);

/* Gives the time, on the clock of mw_now(), when the kernel's clock showed
   `ticks`, not long ago: 0, or -ENOTSUP if this process cannot see that
   clock. */
int mw_time_of_ticks(uint64_t ticks, uint64_t frequency, int64_t *time);

/* Reads the account of a process, also a zombie: 0; -ESRCH; -EPERM: it is
   another user's. */
int mw_read_account(int32_t pid, uint64_t frequency, mw_account *out);

#endif
