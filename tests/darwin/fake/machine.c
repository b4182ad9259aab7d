/* The table of processes, and what happens to them. */
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

machine fake = {.numer = 1, .denom = 1};

static pthread_mutex_t lock;

/* The lock is recursive: functions that are wrapped are also called from
   here. */
__attribute__((constructor(101))) static void make_lock(void) {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &kind);
    pthread_mutexattr_destroy(&kind);
}

void lock_machine(void) { pthread_mutex_lock(&lock); }
void unlock_machine(void) { pthread_mutex_unlock(&lock); }

process *find_process(int32_t pid) {
    for (size_t i = 0; i < fake.count; i++)
        if (fake.table[i].pid == pid)
            return &fake.table[i];
    return NULL;
}

process *add_process(int32_t pid, int32_t ppid, const char *name) {
    if (find_process(pid))
        return NULL;
    if (fake.count == fake.capacity) {
        fake.capacity = fake.capacity ? 2 * fake.capacity : 64;
        fake.table = realloc(fake.table, fake.capacity * sizeof *fake.table);
        if (!fake.table)
            abort();
    }
    const process *parent = find_process(ppid);
    process made = {.pid = pid,
                    .ppid = ppid,
                    .pgid = parent ? parent->pgid : pid,
                    .sid = parent ? parent->sid : pid,
                    .uid = parent ? parent->uid : 0,
                    .unique = ++fake.last_unique,
                    .parent_unique = parent ? parent->unique : 0,
                    .version = ++fake.last_version,
                    .parent_version = parent ? parent->version : 0,
                    .start = fake.now,
                    .executed = 1};
    snprintf(made.comm, sizeof made.comm, "%s", name);
    snprintf(made.path, sizeof made.path, "/usr/bin/%s", name);
    snprintf(made.cwd, sizeof made.cwd, "/");
    process *p = &fake.table[fake.count++];
    *p = made;
    return p;
}

void set_arguments(process *p, const char *path, size_t argc,
                   const char *const argv[], const size_t lengths[]) {
    static const char *const variables[] = {"HOME=/Users/me", "LANG=C"};
    size_t capacity = strlen(path) + 16;
    for (size_t i = 0; i < argc; i++)
        capacity += lengths[i] + 1;
    for (size_t i = 0; i < 2; i++)
        capacity += strlen(variables[i]) + 1;
    char *text = calloc(capacity, 1);
    if (!text)
        abort();
    /* The argv begins at the next multiple of 8. */
    size_t at = (strlen(path) + 8) & ~(size_t)7;
    memcpy(text, path, strlen(path));
    for (size_t i = 0; i < argc; i++) {
        memcpy(text + at, argv[i], lengths[i]);
        at += lengths[i] + 1;
    }
    for (size_t i = 0; i < 2; i++) {
        strcpy(text + at, variables[i]);
        at += strlen(variables[i]) + 1;
    }
    free(p->arguments);
    p->arguments = text;
    p->arguments_length = at;
    p->argc = (int32_t)argc;
    if (path != p->path)
        snprintf(p->path, sizeof p->path, "%s", path);
}

process *do_fork(int32_t parent_pid, int32_t pid) {
    process *parent = find_process(parent_pid);
    if (!parent || parent->life != LIVES || find_process(pid))
        return NULL;
    process *child = add_process(pid, parent_pid, parent->comm);
    parent = find_process(parent_pid); /* the table may have moved */
    child->executed = 0;
    child->uid = parent->uid;
    child->argc = parent->argc;
    memcpy(child->path, parent->path, sizeof child->path);
    memcpy(child->cwd, parent->cwd, sizeof child->cwd);
    child->arguments = malloc(parent->arguments_length + 1);
    if (!child->arguments)
        abort();
    if (parent->arguments_length)
        memcpy(child->arguments, parent->arguments, parent->arguments_length);
    child->arguments_length = parent->arguments_length;
    child->rss = child->rss_max = parent->rss;
    /* Memory is copied on write, so the child is charged for little at
       first. */
    child->footprint = child->footprint_max = PAGE;
    post(parent, NOTE_FORK, 0);
    return child;
}

void do_exec(process *p, const char *path) {
    const char *name = strrchr(path, '/');
    snprintf(p->comm, sizeof p->comm, "%s", name ? name + 1 : path);
    snprintf(p->path, sizeof p->path, "%s", path);
    p->executed = 1;
    p->version = ++fake.last_version;
    /* It gets a new task, whose ledgers begin anew, and its parent's unique id
       is that of its present parent. (xnu: pinsertchild() with in_exec) */
    const process *parent = find_process(p->ppid);
    p->parent_unique = parent ? parent->unique : 0;
    p->rss = p->footprint = p->footprint_max = PAGE;
    post(p, NOTE_EXEC, 0);
}

void do_dying(process *p, int status) {
    p->life = DYING;
    p->status = status;
    p->ended = fake.now ? fake.now : 1;
    p->footprint = 0; /* xnu keeps its peak and, oddly, the resident size */
}

void do_exiting(process *p, int status) {
    if (p->life == LIVES)
        do_dying(p, status);
    p->life = EXITING;
    post(p, NOTE_EXIT, p->status);
}

void do_exit(process *p) {
    p->life = ZOMBIE;
    int32_t pid = p->pid;
    /* Its children become launchd's, which reaps those that have ended. */
    for (size_t i = 0; i < fake.count;) {
        process *child = &fake.table[i];
        if (child->ppid == pid && child->life == ZOMBIE) {
            /* xnu counts even children that were not waited for. */
            uint64_t highest = child->rss_max;
            do_remove(child);
            p = find_process(pid);
            if (highest > p->rss_max)
                p->rss_max = highest;
            continue;
        }
        if (child->ppid == pid)
            child->ppid = LAUNCHD;
        i++;
    }
    p = find_process(pid);
    if (p && p->ppid == LAUNCHD)
        do_remove(p);
}

void do_reap(process *p) {
    process *parent = find_process(p->ppid);
    if (parent)
        parent->children_elapsed += p->ended - p->start + 1;
    do_remove(p);
}

void do_remove(process *p) {
    free(p->arguments);
    size_t at = (size_t)(p - fake.table);
    memmove(p, p + 1, (fake.count - at - 1) * sizeof *p);
    fake.count--;
}

uint64_t to_ticks(int64_t ns) {
    return (uint64_t)((__uint128_t)ns * fake.denom / fake.numer);
}

uint64_t to_seen_ticks(int64_t ns) {
    return fake.is_translated ? (uint64_t)ns : to_ticks(ns);
}

int64_t real_clock(clockid_t clock) {
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int64_t machine_now(void) {
    if (fake.is_live)
        return real_clock(CLOCK_BOOTTIME);
    if (fake.runs_from)
        script_advance(real_clock(CLOCK_MONOTONIC) - fake.runs_from);
    return fake.now;
}

/* -- Calls that are counted, and may fail -- */

enum { MOST_KINDS = 32 };

static struct {
    char what[16];
    long calls;
    int error, after, count; /* of the calls that are still to fail */
} asked[MOST_KINDS];

static size_t kind_of(const char *what) {
    for (size_t i = 0; i < MOST_KINDS; i++) {
        if (!*asked[i].what)
            snprintf(asked[i].what, sizeof asked[i].what, "%s", what);
        if (!strcmp(asked[i].what, what))
            return i;
    }
    abort();
}

int ask(const char *what) {
    size_t i = kind_of(what);
    asked[i].calls++;
    if (asked[i].after > 0) {
        asked[i].after--;
        return 0;
    }
    if (!asked[i].count)
        return 0;
    asked[i].count--;
    return asked[i].error;
}

int fail_next(const char *what, int error, int count, int after) {
    static const char *const known[] = {"scan",   "rusage",  "shortinfo",
                                        "unique", "path",    "args",
                                        "kqueue", "register"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i], what)) {
            size_t kind = kind_of(what);
            asked[kind].error = error;
            asked[kind].count = count;
            asked[kind].after = after;
            return 0;
        }
    return -1;
}

void reset_asked(void) { memset(asked, 0, sizeof asked); }

long fake_calls(const char *what) {
    lock_machine();
    long calls = asked[kind_of(what)].calls;
    unlock_machine();
    return calls;
}

/* -- The two kinds of machine -- */

static void make_empty(void) {
    script_reset();
    reset_asked();
    while (fake.count)
        do_remove(&fake.table[fake.count - 1]);
    free(fake.table);
    fake = (machine){.numer = 1,
                     .denom = 1,
                     .boot = 1700000000250000000,
                     .my_pid = (int32_t)syscall(SYS_getpid),
                     .my_uid = 501};
}

void fake_reset(void) {
    lock_machine();
    make_empty();
    process *kernel = add_process(0, 0, "kernel_task");
    kernel->owned_by_kernel = 1;
    process *launchd = add_process(LAUNCHD, 0, "launchd");
    static const char *const argv[] = {"/sbin/launchd"};
    static const size_t lengths[] = {13};
    set_arguments(launchd, "/sbin/launchd", 1, argv, lengths);
    unlock_machine();
}

void fake_live(uint32_t numer, uint32_t denom) {
    lock_machine();
    make_empty();
    fake.is_live = 1;
    fake.numer = numer;
    fake.denom = denom;
    fake.my_uid = (uint32_t)syscall(SYS_geteuid);
    fake.boot = real_clock(CLOCK_REALTIME) - real_clock(CLOCK_BOOTTIME);
    unlock_machine();
}

void fake_advance(int64_t time) {
    lock_machine();
    script_advance(time);
    unlock_machine();
}

void fake_run(void) {
    lock_machine();
    fake.runs_from = real_clock(CLOCK_MONOTONIC) - fake.now;
    unlock_machine();
}

/* Makes the machine live from the start if FAKE_MACOS=NUMER/DENOM is in the
   environment, for programs that do not know the fake. */
__attribute__((constructor(102))) static void begin_live(void) {
    const char *ticks = getenv("FAKE_MACOS");
    unsigned numer, denom;
    if (ticks && sscanf(ticks, "%u/%u", &numer, &denom) == 2)
        fake_live(numer, denom);
}
