/* The fake machine from within: one table of processes, under one lock. */
#ifndef FAKE_MACHINE_H
#define FAKE_MACHINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "fake.h"

enum { LAUNCHD = 1, PAGE = 16384, ARGUMENTS_MAX = 1 << 20 };

enum life {
    LIVES,
    DYING,   /* its memory is being freed: found, but signals have no effect */
    EXITING, /* its task is gone, but it is no zombie yet: found as zombies are
              */
    ZOMBIE
};

typedef struct process {
    int32_t pid, ppid, pgid, sid;
    uint32_t uid;
    uint64_t unique, parent_unique;
    int32_t version, parent_version; /* p_idversion: changes with each image */
    int64_t start, ended;            /* ns since boot; 0: not ended */
    enum life life;
    int status;
    int executed; /* P_EXEC */
    char comm[17];
    char path[1024];
    int32_t argc;
    char *arguments; /* as on its stack: path, NUL padding, argv, environment */
    size_t arguments_length;
    char cwd[1024];
    uint64_t rss, rss_max; /* of all images that it ever ran */
    uint64_t footprint, footprint_max;
    int64_t user, system;
    int64_t children_elapsed; /* the lives of children that it has waited for */
    uint64_t read, written;
    uint64_t ignored;    /* signals: bit N is signal N */
    int owned_by_kernel; /* it has no stack */
    uint64_t image_id;   /* tells images apart, in live mode */
    uint64_t children;   /* a hash of them, in live mode */
} process;

typedef struct machine {
    process *table; /* by pid, oldest first */
    size_t count, capacity;
    int is_live;
    int64_t now;       /* scripted */
    int64_t runs_from; /* CLOCK_MONOTONIC - now, if it runs; else 0 */
    int64_t boot;      /* wall clock, ns */
    uint32_t numer, denom;
    int is_translated;
    int32_t my_pid;
    uint32_t my_uid;
    uint64_t last_unique;
    int32_t last_version;
    int is_losing;
    int grow_by;
    int32_t vanishing;
} machine;

extern machine fake;

void lock_machine(void);
void unlock_machine(void);

/* What may happen. Call these with the lock held. */
process *find_process(int32_t pid);
process *add_process(int32_t pid, int32_t ppid, const char *name);
void set_arguments(process *p, const char *path, size_t argc,
                   const char *const argv[], const size_t lengths[]);
process *do_fork(int32_t parent, int32_t pid);
void do_exec(process *p, const char *path);
void do_dying(process *p, int status);
void do_exiting(process *p, int status);
void do_exit(process *p);
void do_reap(process *p); /* its parent has waited for it */
void do_remove(process *p);

/* Returns the time since boot; what is due by then happens. */
int64_t machine_now(void);

/* Returns the time of a clock of Linux. */
int64_t real_clock(clockid_t clock);

/* Convert a time to the ticks that the kernel counts, and to those that this
   process sees. */
uint64_t to_ticks(int64_t ns);
uint64_t to_seen_ticks(int64_t ns);

/* Counts a call. Returns the error that it is to fail with, or 0. */
int ask(const char *what);
int fail_next(const char *what, int error, int count, int after);
void reset_asked(void);

/* Does the steps of a script whose time has come. */
void script_advance(int64_t time);
int64_t script_next(void);
void script_reset(void);

/* Update the table from /proc: one process, or all of them. */
void live_refresh(int32_t pid);
void live_refresh_all(void);

/* Returns the CPU time that the calling thread has spent on that. */
int64_t live_spent(void);

/* Reports to all kqueues that something happened to a process: NOTE_*. */
void post(const process *p, uint32_t note, int status);

#endif
