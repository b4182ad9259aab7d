/*
 * Calls that both systems have, for processes that are made up: the linker puts
 * these in the place of libc's (--wrap). For real processes they do what libc
 * does, except where macOS counts in other units.
 */
#include <crt_externs.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

pid_t __real_getpid(void);
uid_t __real_geteuid(void);
pid_t __real_getpgid(pid_t pid);
pid_t __real_getsid(pid_t pid);
int __real_kill(pid_t pid, int number);
pid_t __real_wait4(pid_t pid, int *status, int options, struct rusage *used);
int __real_clock_gettime(clockid_t clock, struct timespec *out);

pid_t __wrap_getpid(void);
uid_t __wrap_geteuid(void);
pid_t __wrap_getpgid(pid_t pid);
pid_t __wrap_getsid(pid_t pid);
int __wrap_kill(pid_t pid, int number);
pid_t __wrap_wait4(pid_t pid, int *status, int options, struct rusage *used);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

/* Returns whether processes are real: in live mode, or before a script
   began. */
static int is_real(void) { return fake.is_live || !fake.count; }

pid_t __wrap_getpid(void) { return is_real() ? __real_getpid() : fake.my_pid; }

uid_t __wrap_geteuid(void) {
    return is_real() ? __real_geteuid() : fake.my_uid;
}

/* Finds a process that lives: one that is ending is in no group that can be
   asked for. */
static const process *find_living(pid_t pid) {
    const process *p = find_process(pid ? pid : fake.my_pid);
    if (p && p->life == LIVES)
        return p;
    errno = ESRCH;
    return NULL;
}

pid_t __wrap_getpgid(pid_t pid) {
    if (is_real())
        return __real_getpgid(pid);
    lock_machine();
    machine_now();
    const process *p = find_living(pid);
    pid_t group = p ? p->pgid : -1;
    unlock_machine();
    return group;
}

pid_t __wrap_getsid(pid_t pid) {
    if (is_real())
        return __real_getsid(pid);
    lock_machine();
    machine_now();
    const process *p = find_living(pid);
    pid_t session = p ? p->sid : -1;
    unlock_machine();
    return session;
}

/* Signals a process: 0 or an errno. A process that has ended takes every signal
   and does nothing. */
static int signal_one(process *p, int number) {
    if (p->life != LIVES)
        return 0;
    if (fake.my_uid && p->uid != fake.my_uid)
        return EPERM;
    if (number && !(p->ignored >> number & 1)) {
        do_exiting(p, number);
        do_exit(p);
    }
    return 0;
}

int __wrap_kill(pid_t pid, int number) {
    if (is_real())
        return __real_kill(pid, number);
    lock_machine();
    machine_now();
    ask("kill");
    int error = ESRCH;
    process *p = find_process(pid);
    if (pid < 0)
        abort(); /* memwatch has no use for groups */
    if (p)
        error = signal_one(p, number);
    unlock_machine();
    if (error)
        errno = error;
    return error ? -1 : 0;
}

static process *find_ended_child(pid_t pid, int *has_any) {
    for (size_t i = 0; i < fake.count; i++) {
        process *p = &fake.table[i];
        if (p->ppid != fake.my_pid || (pid > 0 && p->pid != pid))
            continue;
        *has_any = 1;
        if (p->life == ZOMBIE)
            return p;
    }
    return NULL;
}

pid_t __wrap_wait4(pid_t pid, int *status, int options, struct rusage *used) {
    if (is_real()) {
        pid_t got = __real_wait4(pid, status, options, used);
        if (got > 0 && used)
            used->ru_maxrss *= 1024;
        return got;
    }
    lock_machine();
    machine_now();
    int has_any = 0;
    process *p = find_ended_child(pid, &has_any);
    pid_t got = p ? p->pid : 0;
    if (p && status)
        *status = p->status;
    if (p && used)
        *used = (struct rusage){.ru_maxrss = (long)p->rss_max};
    if (p)
        do_reap(p);
    unlock_machine();
    if (got || (has_any && options & WNOHANG))
        return got;
    if (has_any)
        abort(); /* it would wait for ever */
    errno = ECHILD;
    return -1;
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options) {
    return __wrap_wait4(pid, status, options, NULL);
}

/* macOS counts bytes, Linux KiB. */
int fake_getrusage(int who, struct rusage *used) {
    int result = (getrusage)(who, used);
    used->ru_maxrss *= 1024;
    return result;
}

/* All clocks that run by themselves show the same time. A machine that is made
   up needs no CPU time. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *out) {
    int is_wall = clock == CLOCK_REALTIME;
    int is_clock = is_wall || clock == CLOCK_MONOTONIC;
    if (clock == CLOCK_THREAD_CPUTIME_ID && fake.is_live) {
        int64_t used = real_clock(clock) - live_spent();
        *out = (struct timespec){.tv_sec = used / 1000000000,
                                 .tv_nsec = used % 1000000000};
        return 0;
    }
    if (is_real() || (!is_clock && clock != CLOCK_THREAD_CPUTIME_ID))
        return __real_clock_gettime(clock, out);
    lock_machine();
    int64_t now = is_clock ? machine_now() : 0;
    now += is_wall ? fake.boot : 0;
    unlock_machine();
    *out = (struct timespec){.tv_sec = now / 1000000000,
                             .tv_nsec = now % 1000000000};
    return 0;
}

/* Names the calling thread. */
int fake_pthread_setname_np(const char *name) {
    return prctl(PR_SET_NAME, name);
}

char ***_NSGetEnviron(void) { return &environ; }
