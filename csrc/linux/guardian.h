/*
 * The guardian: a separate process that reads each process of the job just
 * before exit_group and execve, lets it go on, and records what it has read. It
 * lives as long as the job, whatever happens to memwatch.
 */
#ifndef MW_LINUX_GUARDIAN_H
#define MW_LINUX_GUARDIAN_H

#include "event_list.h"
#include "ring.h"

/* What memwatch, the guardian and, until it executes, the command share. */
typedef struct mw_guardian {
    _Atomic int32_t pid;   /* the guardian's; 0: not there yet */
    _Atomic int32_t state; /* what mw_hook_state() says */
    _Atomic int32_t ended; /* 1: the last process of the job has gone, or there
                          is none to serve */
    mw_ring *ring;         /* each record is an mw_event and its text */
} mw_guardian;

/*
 * Becomes the guardian, in a child of fork() that has every signal blocked: it
 * does only what is safe in a child of a threaded process, and uses no memory
 * but `shared`. `socket` is one end of a pair. The guardian first sends one
 * byte, then receives one byte that carries the listener as SCM_RIGHTS, or
 * carries nothing if there is no listener. If the other end closes, memwatch
 * has gone: calls are then answered, but not recorded.
 */
_Noreturn void mw_guardian_run(mw_guardian *shared, int socket);

#endif
