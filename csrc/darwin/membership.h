/*
 * Which processes of the machine are of the job. macOS has no subreaper: whose
 * parent ends is launchd's child, and may be in a group and a session of its
 * own by then. So everything that ties a process to the job is looked at:
 *
 *   its parent, if that is of the job;
 *   who forked it, by the unique id, which outlives that process: but from
 *   macOS 13 execve replaces it by that of the parent of the time;
 *   its session, if somebody of the job is or was in it, but for the one that
 *   the job began in: only who is forked in a session gets into it;
 *   its process group, if somebody of the job is or was in it, and nobody else.
 *
 * What this cannot tell: a process whose parent came and went between two
 * scans, if it has left the job's groups and sessions, or never was in one of
 * the job's own. The next scan after a fork comes at once, as a rule.
 *
 * Pure: rows in, judgement out.
 */
#ifndef MW_DARWIN_MEMBERSHIP_H
#define MW_DARWIN_MEMBERSHIP_H

#include "processes.h"

enum mw_standing { MW_UNJUDGED = 0, MW_STRANGER, MW_MEMBER };

/* One process, as it was in a scan. */
typedef struct mw_person {
    int64_t start; /* with the pid, who it is; as in mw_row */
    uint64_t unique;
    uint64_t parent_unique; /* when it was first seen */
    int32_t pid;
    int32_t ppid;
    int32_t parent; /* pid of who forked it, as far as is known */
    int32_t group;
    int32_t session; /* 0: not known */
    uint8_t standing;
    uint8_t has_ended;   /* a zombie */
    uint8_t is_followed; /* the caller's mark, which stays with it */
} mw_person;

/* A scan, in the order of pids. {0} is an empty one. */
typedef struct mw_people {
    mw_person *person;
    size_t count;
    size_t capacity;
} mw_people;

typedef struct mw_membership {
    mw_people now;
    mw_people before; /* the scan before that */
    int32_t root_pid; /* 0: not known yet */
    int64_t root_start;
    uint64_t root_unique;
    int32_t outer_session; /* that of the job's surroundings */
} mw_membership;

/* Who has that pid in a scan, or NULL. */
mw_person *mw_find_person(const mw_people *people, int32_t pid);

/* A new scan takes the place of the last, with what was known of each, the
   judgement too. To be asked about are who is unjudged, and the session of a
   member that has none: it may have left the one that was known. */
int mw_membership_scan(mw_membership *m, const mw_row *rows, size_t count);

/* Judges all that are new. Without a root, or a unique id or session that could
   not be had, goes by the rest. */
void mw_membership_judge(mw_membership *m);

void mw_membership_free(mw_membership *m);

#endif
