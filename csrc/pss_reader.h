/*
 * The thread that makes the sweeps, since reading a process may take seconds
 * and a tick must not wait. The functions belong to the ticking thread, and
 * none but mw_pss_reader_end() ever waits for the other.
 */
#ifndef MW_PSS_READER_H
#define MW_PSS_READER_H

#include <pthread.h>

#include "pss_sweep.h"

typedef struct mw_pss_reader {
    const mw_platform *platform;
    mw_sweep sweep; /* the ticking thread's, unless one is under way */
    bool under_way; /* as the ticking thread knows */

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool reading;
    bool stopping;
} mw_pss_reader;

void mw_pss_reader_begin(mw_pss_reader *reader, const mw_platform *platform);

/* Hands over the sweep that mw_sweep_begin() has listed: 1, 0 if that would
   mean to wait, or -errno. */
int mw_pss_reader_sweep(mw_pss_reader *reader);

/* Returns whether a sweep has ended since the last call: its result is
   there. */
bool mw_pss_reader_has_ended(mw_pss_reader *reader);

/* Ends the thread once the process that is being read has been read. */
void mw_pss_reader_end(mw_pss_reader *reader);

#endif
