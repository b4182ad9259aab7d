#include "membership.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

mw_person *mw_find_person(const mw_people *people, int32_t pid) {
    size_t low = 0, high = people->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (people->person[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < people->count && people->person[low].pid == pid
               ? &people->person[low]
               : NULL;
}

static int by_pid(const void *a, const void *b) {
    int32_t one = ((const mw_person *)a)->pid;
    int32_t other = ((const mw_person *)b)->pid;
    return (one > other) - (one < other);
}

static int make_room(mw_people *people, size_t count) {
    if (count <= people->capacity)
        return 0;
    size_t wanted = count + count / 2;
    mw_person *grown = realloc(people->person, wanted * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    people->person = grown;
    people->capacity = wanted;
    return 0;
}

/* What does not change, or was found out. */
static void remember(mw_person *person, const mw_person *known) {
    person->unique = known->unique;
    person->parent_unique = known->parent_unique;
    person->parent = known->parent;
    person->standing = known->standing;
    person->is_followed = known->is_followed;
    if (!person->group) /* a zombie has left it */
        person->group = known->group;
    /* Who leaves a session leaves the group as well. */
    if (person->group == known->group)
        person->session = known->session;
}

int mw_membership_scan(mw_membership *m, const mw_row *rows, size_t count) {
    int error = make_room(&m->before, count);
    if (error)
        return error;
    mw_people last = m->now;
    m->now = m->before;
    m->before = last;
    m->now.count = count;
    for (size_t i = 0; i < count; i++)
        m->now.person[i] = (mw_person){
            .start = rows[i].start,
            .pid = rows[i].pid,
            .ppid = rows[i].ppid,
            .parent = rows[i].ppid,
            .group = rows[i].group,
            .has_ended = rows[i].state == 'Z',
        };
    qsort(m->now.person, count, sizeof *m->now.person, by_pid);
    for (size_t i = 0; i < m->now.count; i++) {
        mw_person *person = &m->now.person[i];
        const mw_person *known = mw_find_person(&m->before, person->pid);
        if (known && known->start == person->start &&
            known->standing != MW_UNJUDGED)
            remember(person, known);
    }
    return 0;
}

static int is_root(const mw_membership *m, const mw_person *person) {
    return m->root_pid && person->pid == m->root_pid &&
           person->start == m->root_start;
}

/* Whoever of the job has that unique id, now or in the scan before. */
static const mw_person *member_by_unique(const mw_membership *m,
                                         uint64_t unique) {
    const mw_people *scans[] = {&m->now, &m->before};
    for (int scan = 0; unique && scan < 2; scan++)
        for (size_t i = 0; i < scans[scan]->count; i++) {
            const mw_person *person = &scans[scan]->person[i];
            if (person->standing == MW_MEMBER && person->unique == unique)
                return person;
        }
    return NULL;
}

/* Whether a group is the job's: somebody of the job is in it, or was in the
   scan before, and no stranger. */
static int is_group_of_job(const mw_membership *m, int32_t group) {
    const mw_people *scans[] = {&m->now, &m->before};
    int has_member = 0;
    for (int scan = 0; group && scan < 2; scan++)
        for (size_t i = 0; i < scans[scan]->count; i++) {
            const mw_person *person = &scans[scan]->person[i];
            if (person->group != group)
                continue;
            if (person->standing == MW_STRANGER)
                return 0;
            has_member |= person->standing == MW_MEMBER;
        }
    return has_member;
}

/* The same of a session, into which no stranger can get. */
static int is_session_of_job(const mw_membership *m, int32_t session) {
    const mw_people *scans[] = {&m->now, &m->before};
    if (!session || session == m->outer_session)
        return 0;
    for (int scan = 0; scan < 2; scan++)
        for (size_t i = 0; i < scans[scan]->count; i++) {
            const mw_person *person = &scans[scan]->person[i];
            if (person->standing == MW_MEMBER && person->session == session)
                return 1;
        }
    return 0;
}

/* Whether somebody new is of the job; then the parent is known, too. */
static int is_member(const mw_membership *m, mw_person *person) {
    if (is_root(m, person)) {
        person->is_followed = 1; /* or it would not be known */
        return 1;
    }
    const mw_person *parent = mw_find_person(&m->now, person->ppid);
    if (parent && parent->standing == MW_MEMBER)
        return 1;
    parent = member_by_unique(m, person->parent_unique);
    if (parent) {
        person->parent = parent->pid;
        return 1;
    }
    return (m->root_unique && person->parent_unique == m->root_unique) ||
           is_group_of_job(m, person->group) ||
           is_session_of_job(m, person->session);
}

void mw_membership_judge(mw_membership *m) {
    int has_changed;
    do {
        /* Once more while somebody is found: a child may come before its
           parent. */
        has_changed = 0;
        for (size_t i = 0; i < m->now.count; i++) {
            mw_person *person = &m->now.person[i];
            if (person->standing == MW_UNJUDGED && is_member(m, person)) {
                person->standing = MW_MEMBER;
                has_changed = 1;
            }
        }
    } while (has_changed);
    for (size_t i = 0; i < m->now.count; i++)
        if (m->now.person[i].standing == MW_UNJUDGED)
            m->now.person[i].standing = MW_STRANGER;
}

void mw_membership_free(mw_membership *m) {
    free(m->now.person);
    free(m->before.person);
}
