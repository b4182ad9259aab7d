/* The state of the macOS platform, which its files share. */
#ifndef MW_DARWIN_STATE_H
#define MW_DARWIN_STATE_H

#include <pthread.h>

#include "kqueues.h"
#include "membership.h"
#include "usage.h"

/* Which processes are in the job. Signals need this from other threads. */
typedef struct mw_job {
    pthread_mutex_t lock;
    mw_membership members;
    mw_listing listing;
    int is_judged; /* the machine was scanned since the root was known */
} mw_job;

struct mw_handle {
    /* What every tick needs. */
    int32_t pid;
    int32_t version;       /* of the image that was read last; see mw_unique */
    uint8_t is_watched;    /* kqueue reports its events */
    uint8_t is_unwatched;  /* kqueue refused to; counted as such */
    uint8_t has_ended;     /* its end was noted */
    uint8_t end_by_kqueue; /* because kqueue reported it */
    uint8_t has_forked;    /* since it has been watched */
    uint8_t pending;       /* events to pass on: MW_KQUEUE_EXEC, _EXIT */
    uint8_t program[16];   /* of the image that was read last */
    uint64_t started;      /* ticks, as in mw_account; 0: not known */
    uint64_t unique;

    mw_handle *next_pending;
    /* What is known of its end. */
    int64_t end;
    int status;
    int has_status;
    int has_account;
    mw_account account;
};

struct mw_platform {
    mw_kqueues kqueues;
    uint64_t frequency; /* of the kernel's clock */
    int32_t adopter_pid;
    int32_t unwatched_root; /* kqueue does not report its end; else 0 */
    int root_has_ended;
    mw_job *job;
    mw_handle *first_pending;

    /* When to scan the machine. */
    int scan_is_due;        /* a process has forked, or may have, unnoticed */
    int scan_has_failed;    /* the last one */
    int64_t next_scan;      /* not before */
    int64_t next_safe_scan; /* without a reason */
    size_t unwatched;       /* processes that kqueue does not watch */

    char *arguments; /* room for a command line */
    size_t arguments_room;
    mw_sampler_stats stats;
};

/* Scans the machine for the processes of the job: 0 or -errno. Call with the
   lock held. */
int mw_job_scan(mw_job *job);

/* Returns whether the last scan has found only the job's first process. Takes
   the lock. */
int mw_job_is_alone(mw_job *job);

/* Sets the first process of the job. Takes the lock. */
void mw_job_set_root(mw_job *job, const mw_row *row, const mw_unique *unique);

/* Marks a process as followed. Returns its parent, as far as that is known.
   Takes the lock. */
int32_t mw_job_follow(mw_job *job, const mw_row *row);

/* Note an event, to be passed on later. mw_note_exit() reads at once all there
   is to know about the end, because that is gone when the parent has waited for
   the process. */
void mw_note_event(mw_platform *p, mw_handle *h, uint8_t event);
void mw_note_exit(mw_platform *p, mw_handle *h, const mw_kqueue_event *event);

/* Reads the kernel's name of a process, 16 bytes with the NUL, and its flags,
   PROC_FLAG_*: 0 or -ESRCH. Works for zombies, and for processes of any
   user. */
int mw_ask_name(int32_t pid, char name[16], uint32_t *flags);

#endif
