/*
 * Prints everything about itself that whoever started it decides: its
 * environment, limits, signals, descriptors. Two runs that were started alike
 * print the same.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void print_limits(void) {
    for (int which = 0; which < 16; which++) {
        struct rlimit limit;
        if (!getrlimit((__rlimit_resource_t)which, &limit))
            printf("limit %d: %llu %llu\n", which,
                   (unsigned long long)limit.rlim_cur,
                   (unsigned long long)limit.rlim_max);
    }
}

/* The lines of `status` that say how signals are treated, and what is allowed.
 */
static void print_status(void) {
    static const char *const wanted[] = {"SigBlk", "SigIgn",     "SigCgt",
                                         "Cap",    "NoNewPrivs", "Seccomp",
                                         "Uid",    "Gid",        "Groups"};
    char line[4096];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i])))
                fputs(line, stdout);
    if (status)
        fclose(status);
}

enum { MOST_DESCRIPTORS = 256 };

static struct {
    int is_open, type, status, flags;
} descriptors[MOST_DESCRIPTORS];

/* Before this program opens any itself. */
static void note_descriptors(void) {
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++) {
        struct stat file;
        if (fstat(fd, &file))
            continue;
        descriptors[fd].is_open = 1;
        descriptors[fd].type = file.st_mode & S_IFMT;
        descriptors[fd].status = fcntl(fd, F_GETFL);
        descriptors[fd].flags = fcntl(fd, F_GETFD);
    }
}

static void print_descriptors(void) {
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
        if (descriptors[fd].is_open)
            printf("fd %d: type %o, flags %o %o\n", fd, descriptors[fd].type,
                   descriptors[fd].status, descriptors[fd].flags);
}

/* With an argument, prints to that file: standard output may be closed. */
int main(int argc, char **argv) {
    note_descriptors();
    if (argc > 1 && !freopen(argv[1], "w", stdout))
        return 2;

    for (char **variable = environ; *variable; variable++)
        puts(*variable);
    print_limits();
    mode_t mask = umask(0);
    umask(mask);
    printf("umask %o\n", mask);
    print_status();
    print_descriptors();
    int subreaper = 0, death = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    prctl(PR_GET_PDEATHSIG, &death);
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    char directory[4096] = "";
    printf("subreaper %d, death signal %d, slack %d, dumpable %d, nice %d, "
           "cpus %d, policy %d\n",
           subreaper, death, prctl(PR_GET_TIMERSLACK), prctl(PR_GET_DUMPABLE),
           getpriority(PRIO_PROCESS, 0), CPU_COUNT(&cpus),
           sched_getscheduler(0));
    printf("directory %s\n", getcwd(directory, sizeof directory));
    printf("leads its group: %d, its session: %d\n", getpgrp() == getpid(),
           getsid(0) == getpid());
    fputs("written to standard error\n", stderr);
    return fflush(stdout) ? 1 : 7;
}
