/* A growing list of process ids. */
#ifndef MW_PIDS_H
#define MW_PIDS_H

#include <stddef.h>
#include <stdint.h>

/* An empty list, {0}, is valid for every function. Free `pid` with free(3). */
typedef struct mw_pids {
    int32_t *pid;
    size_t count;
    size_t capacity;
} mw_pids;

/* Appends a pid, also one that is there already: 0 or -ENOMEM. */
int mw_pids_add(mw_pids *pids, int32_t pid);

/* Returns whether a pid is in the list: 1 or 0. Looks through all of it. */
int mw_pids_have(const mw_pids *pids, int32_t pid);

#endif
