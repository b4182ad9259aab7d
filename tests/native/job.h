/* What the jobs of the C tests share. They need no sleep and cannot outlive
   their test: their processes wait for the end of the standard input, a pipe
   that only the test holds open. */
#ifndef MW_TEST_JOB_H
#define MW_TEST_JOB_H

#include <errno.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

/* Ends this process because a call has failed. */
static inline void die(const char *what) {
    perror(what);
    _exit(99);
}

static inline void wait_for_end_of_input(void) {
    char byte;
    ssize_t n;
    while ((n = read(0, &byte, 1)) > 0 || (n < 0 && errno == EINTR))
        ;
}

/* Forks: 0 in the child. */
static inline pid_t start(void) {
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    return pid;
}

#endif
