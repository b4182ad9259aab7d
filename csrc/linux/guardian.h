/*
 * The guardian: a process of its own that reads each process of the job just
 * before exit_group and execve, lets it go on, and writes down what it saw. It
 * lives as long as the job, whatever happens to memwatch.
 */
#ifndef MW_LINUX_GUARDIAN_H
#define MW_LINUX_GUARDIAN_H

#include "news.h"
#include "ring.h"

/* In memory that memwatch, the guardian and, until it executes, the command
   share. */
typedef struct mw_guardian {
    _Atomic int32_t pid;   /* the guardian's; 0: not there yet */
    _Atomic int32_t state; /* what mw_hook_state() says */
    _Atomic int32_t ended; /* 1: the last process of the job has gone, or there
                              is none to serve */
    mw_ring *ring;         /* of mw_news, each with its text behind it */
} mw_guardian;

/*
 * Becomes the guardian, in a child of fork() that has every signal blocked:
 * only what is safe in a child of a threaded process, and no memory that is
 * not in `shared`. `socket` is one end of a pair. First it says one byte; then
 * it takes the listener, which comes with one byte as SCM_RIGHTS, or without
 * it when there is none to come. When the other end closes, memwatch has gone,
 * and calls are only answered.
 */
_Noreturn void mw_guardian_run(mw_guardian *shared, int socket);

#endif
