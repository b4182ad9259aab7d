/* Threads of memwatch's own, and the sets of signals it is given. */
#ifndef MW_THREAD_H
#define MW_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>

/* Starts a thread in which every signal is blocked, since signals belong to the
   caller's threads: 0 or -errno. */
static inline int mw_start_thread(pthread_t *thread, void *(*run)(void *),
                                  void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

/* Writes a bit mask, in which bit N-1 is signal N, as a set of signals. */
static inline void mw_to_signal_set(uint64_t signals, sigset_t *set) {
    sigemptyset(set);
    for (int number = 1; number <= 64; number++)
        if (signals >> (number - 1) & 1)
            sigaddset(set, number);
}

#endif
