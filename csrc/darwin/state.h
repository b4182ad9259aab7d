/* What the files of this folder share: the job, and each process followed. */
#ifndef MW_DARWIN_STATE_H
#define MW_DARWIN_STATE_H

#include <pthread.h>

#include "events.h"
#include "membership.h"
#include "usage.h"

/* Who is of the job. Signals ask for it from other threads. */
typedef struct mw_job {
    pthread_mutex_t lock;
    mw_membership members;
    mw_listing listing;
    int is_judged; /* the machine was scanned since the root was known */
} mw_job;

struct mw_handle {
    /* What every tick needs. */
    int32_t pid;
    int32_t version;      /* of the image that was read last; see mw_unique */
    uint8_t is_watched;   /* kqueue tells of it */
    uint8_t is_unwatched; /* kqueue would not; counted as such */
    uint8_t has_ended;    /* that was noted */
    uint8_t is_heard;     /* by kqueue's word */
    uint8_t has_forked;   /* since it is watched */
    uint8_t news;         /* what is to be told: MW_EXECUTED, MW_EXITED_NOW */
    uint8_t program[16];  /* of the image that was read last */
    uint64_t started;     /* ticks, as in mw_account; 0: not known */
    uint64_t unique;

    mw_handle *next_news;
    /* Its end. */
    int64_t end;
    int status;
    int has_status;
    int has_account;
    mw_account account;
};

struct mw_platform {
    mw_events events;
    uint64_t frequency; /* of the kernel's clock */
    int32_t adopter_pid;
    int32_t unheard_root; /* kqueue would not tell of its end; else 0 */
    int root_has_ended;
    mw_job *job;
    mw_handle *first_news;

    /* When to scan the machine. */
    int scan_is_due;        /* somebody has forked, or may have unheard of */
    int scan_has_failed;    /* the last one */
    int64_t next_scan;      /* not before */
    int64_t next_safe_scan; /* without a reason */
    size_t unwatched;       /* processes of which kqueue tells nothing */

    char *arguments; /* room for a command line */
    size_t arguments_room;
    mw_sampler_stats stats;
};

/* Who is of the job now: scans the machine. 0 or -errno. Under the lock. */
int mw_job_scan(mw_job *job);

/* Whether nobody but the first process was found in the last scan. Takes the
   lock. */
int mw_job_is_alone(mw_job *job);

/* Tells the job who its first process is. Takes the lock. */
void mw_job_set_root(mw_job *job, const mw_row *row, const mw_unique *unique);

/* Marks a process as followed: its parent, as far as that is known. Takes the
   lock. */
int32_t mw_job_follow(mw_job *job, const mw_row *row);

/* Puts down that something is to be told of a process. Of its end what there is
   to know is read at once: when its parent has waited for it, it is gone. */
void mw_note(mw_platform *p, mw_handle *h, uint8_t news);
void mw_note_end(mw_platform *p, mw_handle *h, const mw_happening *what);

/* The kernel's name of a process, a zombie too, of 16 bytes with its NUL, and
   its flags, PROC_FLAG_*: 0 or -ESRCH. Nobody is refused. */
int mw_ask_name(int32_t pid, char name[16], uint32_t *flags);

#endif
