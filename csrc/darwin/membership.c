/* Which processes are in the job: the rules, without a system call. */
#include "membership.h"

#include <stdlib.h>

#include "grow.h"

static const size_t FIRST_CAPACITY = 64;

mw_candidate *mw_find_candidate(const mw_candidates *candidates, int32_t pid) {
    size_t low = 0, high = candidates->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (candidates->items[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < candidates->count && candidates->items[low].pid == pid
               ? &candidates->items[low]
               : NULL;
}

static int by_pid(const void *a, const void *b) {
    int32_t one = ((const mw_candidate *)a)->pid;
    int32_t other = ((const mw_candidate *)b)->pid;
    return (one > other) - (one < other);
}

static int make_room(mw_candidates *candidates, size_t count) {
    void *items = candidates->items;
    int error = mw_grow(&items, &candidates->capacity, count,
                        sizeof *candidates->items, FIRST_CAPACITY);
    candidates->items = items;
    return error;
}

/* Keeps what does not change, and what was found out. */
static void remember(mw_candidate *candidate, const mw_candidate *known) {
    candidate->unique = known->unique;
    candidate->parent_unique = known->parent_unique;
    candidate->parent = known->parent;
    candidate->standing = known->standing;
    candidate->is_followed = known->is_followed;
    if (!candidate->group) /* a zombie has left it */
        candidate->group = known->group;
    /* A process that leaves its session leaves its group as well. */
    if (candidate->group == known->group)
        candidate->session = known->session;
}

int mw_membership_scan(mw_membership *m, const mw_row *rows, size_t count) {
    int error = make_room(&m->before, count);
    if (error)
        return error;
    mw_candidates last = m->now;
    m->now = m->before;
    m->before = last;
    m->now.count = count;
    for (size_t i = 0; i < count; i++)
        m->now.items[i] = (mw_candidate){
            .start = rows[i].start,
            .pid = rows[i].pid,
            .ppid = rows[i].ppid,
            .parent = rows[i].ppid,
            .group = rows[i].group,
            .has_ended = rows[i].state == 'Z',
        };
    qsort(m->now.items, count, sizeof *m->now.items, by_pid);
    for (size_t i = 0; i < m->now.count; i++) {
        mw_candidate *candidate = &m->now.items[i];
        const mw_candidate *known =
            mw_find_candidate(&m->before, candidate->pid);
        if (known && known->start == candidate->start &&
            known->standing != MW_UNJUDGED)
            remember(candidate, known);
    }
    return 0;
}

static int is_root(const mw_membership *m, const mw_candidate *candidate) {
    return m->root_pid && candidate->pid == m->root_pid &&
           candidate->start == m->root_start;
}

/* Returns the process of the job that has a unique id, now or in the scan
   before, or NULL. */
static const mw_candidate *member_by_unique(const mw_membership *m,
                                            uint64_t unique) {
    const mw_candidates *scans[] = {&m->now, &m->before};
    for (int scan = 0; unique && scan < 2; scan++)
        for (size_t i = 0; i < scans[scan]->count; i++) {
            const mw_candidate *candidate = &scans[scan]->items[i];
            if (candidate->standing == MW_MEMBER && candidate->unique == unique)
                return candidate;
        }
    return NULL;
}

/* Returns whether a group is the job's: a process of the job is in it, or was
   in the scan before, and no stranger. */
static int is_group_of_job(const mw_membership *m, int32_t group) {
    const mw_candidates *scans[] = {&m->now, &m->before};
    int has_member = 0;
    for (int scan = 0; group && scan < 2; scan++)
        for (size_t i = 0; i < scans[scan]->count; i++) {
            const mw_candidate *candidate = &scans[scan]->items[i];
            if (candidate->group != group)
                continue;
            if (candidate->standing == MW_STRANGER)
                return 0;
            has_member |= candidate->standing == MW_MEMBER;
        }
    return has_member;
}

/* Does the same for a session, into which no stranger can get. */
static int is_session_of_job(const mw_membership *m, int32_t session) {
    const mw_candidates *scans[] = {&m->now, &m->before};
    if (!session || session == m->outer_session)
        return 0;
    for (int scan = 0; scan < 2; scan++)
        for (size_t i = 0; i < scans[scan]->count; i++) {
            const mw_candidate *candidate = &scans[scan]->items[i];
            if (candidate->standing == MW_MEMBER &&
                candidate->session == session)
                return 1;
        }
    return 0;
}

/* Returns whether a new process is in the job, and sets its parent. */
static int is_member(const mw_membership *m, mw_candidate *candidate) {
    if (is_root(m, candidate)) {
        candidate->is_followed =
            1; /* the root is known because it is followed */
        return 1;
    }
    const mw_candidate *parent = mw_find_candidate(&m->now, candidate->ppid);
    if (parent && parent->standing == MW_MEMBER)
        return 1;
    parent = member_by_unique(m, candidate->parent_unique);
    if (parent) {
        candidate->parent = parent->pid;
        return 1;
    }
    return (m->root_unique && candidate->parent_unique == m->root_unique) ||
           is_group_of_job(m, candidate->group) ||
           is_session_of_job(m, candidate->session);
}

void mw_membership_judge(mw_membership *m) {
    int has_changed;
    do {
        /* Repeats while a member is found: a child may come before its
           parent. */
        has_changed = 0;
        for (size_t i = 0; i < m->now.count; i++) {
            mw_candidate *candidate = &m->now.items[i];
            if (candidate->standing == MW_UNJUDGED && is_member(m, candidate)) {
                candidate->standing = MW_MEMBER;
                has_changed = 1;
            }
        }
    } while (has_changed);
    for (size_t i = 0; i < m->now.count; i++)
        if (m->now.items[i].standing == MW_UNJUDGED)
            m->now.items[i].standing = MW_STRANGER;
}

void mw_membership_free(mw_membership *m) {
    free(m->now.items);
    free(m->before.items);
}
