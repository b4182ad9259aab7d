/*
 * Signals to the whole job. A list of processes may have gaps while they fork,
 * so it is made again until it has no new ones. A process outside the job gets
 * no signal: unique ids are never reused, and pids not soon.
 */
#include <errno.h>
#include <libproc.h>
#include <signal.h>

#include "state.h"

/* The most lists per call. A job that forks faster is left to the next call. */
enum { MOST_LISTS = 16 };

/* Sends a signal to one process. Returns whether it was still there. */
static int signal_one(const mw_candidate *candidate, int number) {
    mw_unique unique;
    char name[16];
    uint32_t flags = 0;
    if (mw_ask_unique(candidate->pid, 0, &unique) ||
        unique.id != candidate->unique)
        return 0;
    /* A process that is exiting is there, but no signal can end it. */
    if (number && number != SIGKILL &&
        !mw_ask_name(candidate->pid, name, &flags) &&
        (flags & PROC_FLAG_INEXIT))
        return 0;
    if (number)
        kill(candidate->pid, number);
    return 1;
}

/* Lists the job, and signals the processes that are not in `found` yet. */
static int signal_new(mw_job *job, int number, mw_pids *found) {
    const mw_candidates *candidates = &job->members.now;
    int error = mw_job_scan(job);
    for (size_t i = 0; !error && i < candidates->count; i++) {
        const mw_candidate *candidate = &candidates->items[i];
        if (candidate->standing == MW_MEMBER && !candidate->has_ended &&
            !mw_pids_have(found, candidate->pid) &&
            signal_one(candidate, number))
            error = mw_pids_add(found, candidate->pid);
    }
    return error;
}

int mw_platform_signal_job(const mw_platform *p, int number, int reap,
                           mw_pids *found) {
    (void)reap; /* orphans are launchd's */
    mw_job *job = p->job;
    size_t before;
    int error = 0, lists = 0;
    pthread_mutex_lock(&job->lock);
    do {
        before = found->count;
        if (job->members.root_pid)
            error = signal_new(job, number, found);
    } while (!error && number && found->count != before &&
             ++lists < MOST_LISTS);
    pthread_mutex_unlock(&job->lock);
    return error;
}
