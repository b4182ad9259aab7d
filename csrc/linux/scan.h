/* Scans of the machine, beside mw_scan(). */
#ifndef MW_LINUX_SCAN_H
#define MW_LINUX_SCAN_H

#include "memwatch.h"

/* Reads every process of an open /proc into memory that grows: `*out` is NULL
   or from malloc(3), and has room for `*capacity`. 0 or -errno. */
int mw_scan_all(int proc_fd, mw_process **out, size_t *capacity, size_t *count);

#endif
