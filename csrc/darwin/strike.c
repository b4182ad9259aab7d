/*
 * Signals to the whole job. No list of processes is without gaps while they
 * fork: so it is made anew until nobody new is in it. No stranger is struck:
 * unique ids are never given out twice, and pids not soon.
 */
#include <errno.h>
#include <libproc.h>
#include <signal.h>

#include "state.h"

/* What forks faster than it is listed is left to the next call. */
enum { MOST_ROUNDS = 16 };

/* Sends it to one process, unless that has ended: 1 when it was there. */
static int strike(const mw_person *person, int number) {
    mw_unique unique;
    char name[16];
    uint32_t flags = 0;
    if (mw_ask_unique(person->pid, 0, &unique) || unique.id != person->unique)
        return 0;
    /* What is ending already is there, but no signal ends it. */
    if (number && number != SIGKILL &&
        !mw_ask_name(person->pid, name, &flags) && (flags & PROC_FLAG_INEXIT))
        return 0;
    if (number)
        kill(person->pid, number);
    return 1;
}

/* One round: all that `found` has not yet. */
static int strike_new(mw_job *job, int number, mw_pids *found) {
    const mw_people *people = &job->members.now;
    int error = mw_job_scan(job);
    for (size_t i = 0; !error && i < people->count; i++) {
        const mw_person *person = &people->person[i];
        if (person->standing == MW_MEMBER && !person->has_ended &&
            !mw_pids_have(found, person->pid) && strike(person, number))
            error = mw_pids_add(found, person->pid);
    }
    return error;
}

int mw_platform_signal(const mw_platform *p, int number, int reap,
                       mw_pids *found) {
    (void)reap; /* orphans are launchd's */
    mw_job *job = p->job;
    size_t before;
    int error = 0, round = 0;
    pthread_mutex_lock(&job->lock);
    do {
        before = found->count;
        if (job->members.root_pid)
            error = strike_new(job, number, found);
    } while (!error && number && found->count != before &&
             ++round < MOST_ROUNDS);
    pthread_mutex_unlock(&job->lock);
    return error;
}
