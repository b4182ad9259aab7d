/* Keeps track of which processes are in the job. */
#include <errno.h>
#include <unistd.h>

#include "state.h"

/* Asks for what the rows lack: the unique ids of a new process, and a session
   that is not known. */
static void ask_about(mw_candidate *candidate) {
    mw_unique unique;
    if (candidate->standing == MW_UNJUDGED &&
        !mw_ask_unique(candidate->pid, 1, &unique)) {
        candidate->unique = unique.id;
        candidate->parent_unique = unique.parent_id;
    }
    if (!candidate->session && !candidate->has_ended) {
        int32_t session = getsid(candidate->pid);
        candidate->session = session > 0 ? session : 0;
    }
}

int mw_job_scan(mw_job *job) {
    mw_membership *m = &job->members;
    int error = mw_list_processes(&job->listing);
    if (!error)
        error = mw_membership_scan(m, job->listing.rows, job->listing.count);
    for (size_t i = 0; !error && i < m->now.count; i++) {
        mw_candidate *candidate = &m->now.items[i];
        /* In the first scan, a process older than the job is a stranger. Later
           this would be wrong: the clock may have been set back. */
        if (!job->is_judged && candidate->start < m->root_start)
            candidate->standing = MW_STRANGER;
        if (candidate->standing != MW_STRANGER)
            ask_about(candidate);
    }
    if (!error) {
        mw_membership_judge(m);
        job->is_judged = 1;
    }
    return error;
}

void mw_job_set_root(mw_job *job, const mw_row *row, const mw_unique *unique) {
    mw_membership *m = &job->members;
    pthread_mutex_lock(&job->lock);
    m->root_pid = row->pid;
    m->root_start = row->start;
    m->root_unique = unique->id;
    int32_t session = getsid(row->pid);
    if (session <= 0 || session == row->pid)
        session = getsid(0);
    m->outer_session = session;
    pthread_mutex_unlock(&job->lock);
}

int mw_job_is_alone(mw_job *job) {
    int others = 0;
    pthread_mutex_lock(&job->lock);
    const mw_candidates *candidates = &job->members.now;
    for (size_t i = 0; i < candidates->count; i++)
        others += candidates->items[i].standing == MW_MEMBER &&
                  candidates->items[i].pid != job->members.root_pid;
    pthread_mutex_unlock(&job->lock);
    return !others;
}

int32_t mw_job_follow(mw_job *job, const mw_row *row) {
    int32_t parent = row->ppid;
    pthread_mutex_lock(&job->lock);
    mw_candidate *candidate = mw_find_candidate(&job->members.now, row->pid);
    if (candidate && candidate->start == row->start) {
        candidate->is_followed = 1;
        parent = candidate->parent;
    }
    pthread_mutex_unlock(&job->lock);
    return parent;
}
