/* Keeps track of who is of the job. */
#include <errno.h>
#include <unistd.h>

#include "state.h"

/* What the rows do not tell of those that are new, or were not told apart. */
static void ask_about(mw_person *person) {
    mw_unique unique;
    if (person->standing == MW_UNJUDGED &&
        !mw_ask_unique(person->pid, 1, &unique)) {
        person->unique = unique.id;
        person->parent_unique = unique.parent_id;
    }
    if (!person->session && !person->has_ended) {
        int32_t session = getsid(person->pid);
        person->session = session > 0 ? session : 0;
    }
}

int mw_job_scan(mw_job *job) {
    mw_membership *m = &job->members;
    int error = mw_list_processes(&job->listing);
    if (!error)
        error = mw_membership_scan(m, job->listing.rows, job->listing.count);
    for (size_t i = 0; !error && i < m->now.count; i++) {
        mw_person *person = &m->now.person[i];
        /* At first, who is older than the job needs no asking. Later that would
           not do: the clock may have been set back. */
        if (!job->is_judged && person->start < m->root_start)
            person->standing = MW_STRANGER;
        if (person->standing != MW_STRANGER)
            ask_about(person);
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
    const mw_people *people = &job->members.now;
    for (size_t i = 0; i < people->count; i++)
        others += people->person[i].standing == MW_MEMBER &&
                  people->person[i].pid != job->members.root_pid;
    pthread_mutex_unlock(&job->lock);
    return !others;
}

int32_t mw_job_follow(mw_job *job, const mw_row *row) {
    int32_t parent = row->ppid;
    pthread_mutex_lock(&job->lock);
    mw_person *person = mw_find_person(&job->members.now, row->pid);
    if (person && person->start == row->start) {
        person->is_followed = 1;
        parent = person->parent;
    }
    pthread_mutex_unlock(&job->lock);
    return parent;
}
