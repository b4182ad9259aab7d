/*
 * Which processes of the machine are in the job. macOS has no subreaper: a
 * process whose parent ends becomes launchd's child, and may be in a group and
 * a session of its own by then. So everything that ties a process to the job is
 * checked:
 *
 *   its parent, if that is in the job;
 *   the process that forked it, by the unique id, which outlives that process:
 *   but from macOS 13 execve replaces it by that of the parent at that time;
 *   its session, if a process of the job is or was in it, except the session
 *   that the job began in: only processes forked in a session get into it;
 *   its process group, if only processes of the job are or were in it.
 *
 * This misses a process whose parent came and went between two scans, if it has
 * left the job's groups and sessions, or never was in one of the job's own. As
 * a rule, the next scan after a fork comes at once.
 *
 * Pure: rows in, standings out.
 */
#ifndef MW_DARWIN_MEMBERSHIP_H
#define MW_DARWIN_MEMBERSHIP_H

#include "processes.h"

enum mw_standing { MW_UNJUDGED = 0, MW_STRANGER, MW_MEMBER };

/* One process in a scan, which may be in the job. */
typedef struct mw_candidate {
    int64_t start; /* with the pid, its identity; as in mw_row */
    uint64_t unique;
    uint64_t parent_unique; /* when it was first seen */
    int32_t pid;
    int32_t ppid;
    int32_t parent; /* pid of the process that forked it, as far as known */
    int32_t group;
    int32_t session; /* 0: not known */
    uint8_t standing;
    uint8_t has_ended;   /* a zombie */
    uint8_t is_followed; /* set by the caller; later scans keep it */
} mw_candidate;

/* All processes of a scan, by pid. {0} is an empty one. */
typedef struct mw_candidates {
    mw_candidate *items;
    size_t count;
    size_t capacity;
} mw_candidates;

typedef struct mw_membership {
    mw_candidates now;
    mw_candidates before; /* the scan before that */
    int32_t root_pid;     /* 0: not known yet */
    int64_t root_start;
    uint64_t root_unique;
    int32_t outer_session; /* that of the job's surroundings */
} mw_membership;

/* Returns the process that has a pid in a scan, or NULL. */
mw_candidate *mw_find_candidate(const mw_candidates *candidates, int32_t pid);

/* Replaces the last scan by a new one, and keeps what was known of each
   process, its standing included. The caller then fills in the unique ids of
   every process that is unjudged, and the session of every member that has none
   (it may have left the one that was known). 0 or -ENOMEM. */
int mw_membership_scan(mw_membership *m, const mw_row *rows, size_t count);

/* Gives every process that is unjudged its standing. A root, unique id or
   session that is not known is left out of account. */
void mw_membership_judge(mw_membership *m);

void mw_membership_free(mw_membership *m);

#endif
