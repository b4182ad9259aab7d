/* How much memory is available to the job: on the machine, and in its control
   groups. */
#ifndef MW_LINUX_AVAILABLE_H
#define MW_LINUX_AVAILABLE_H

#include "memwatch.h"

/* One control group. */
typedef struct mw_group {
    uint64_t limit;
    int usage_fd;
    int stat_fd;
} mw_group;

/* All zero is valid: nothing is open. */
typedef struct mw_available {
    int is_open;
    int meminfo_fd;
    int version; /* of the control groups */
    mw_group *groups;
    size_t group_count;
} mw_available;

/* Opens the files that `options` need: 0 or -ENOMEM. What cannot be opened is
   left out. */
int mw_available_open(mw_available *available, int proc_fd,
                      const mw_sampler_options *options);

void mw_available_close(mw_available *available);

#endif
