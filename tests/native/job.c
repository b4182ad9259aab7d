/* Jobs whose processes are known, for test_sampler.c. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"

static void *fork_in_thread(void *unused) {
    if (start() == 0) {
        wait_for_end_of_input();
        _exit(0);
    }
    wait_for_end_of_input();
    return unused;
}

/* Has five processes that stay: this one, a cat, a child without exec, a child
   of a second thread, and an orphan in a session of its own. */
static int tree(void) {
    pthread_t thread;
    if (start() == 0) {
        execlp("cat", "cat", (char *)NULL);
        die("cat");
    }
    if (start() == 0) {
        wait_for_end_of_input();
        _exit(0);
    }
    if (pthread_create(&thread, NULL, fork_in_thread, NULL))
        die("pthread_create");
    pid_t middle = start();
    if (middle == 0) {
        setsid();
        if (start() == 0)
            wait_for_end_of_input();
        _exit(0);
    }
    waitpid(middle, NULL, 0);
    wait_for_end_of_input();
    pthread_join(thread, NULL);
    while (wait(NULL) > 0)
        ;
    return 7;
}

/* Starts `total` processes one after another, `width` at a time; each ends at
   once. */
static int churn(int width, int total) {
    for (int i = 0; i < total; i++) {
        if (i >= width)
            wait(NULL);
        if (start() == 0)
            _exit(i % 5);
    }
    while (wait(NULL) > 0)
        ;
    return 3;
}

static void *step(void *number) {
    char letter = 0;
    /* Each byte lets one thread go on. */
    if (read(0, &letter, 1) != 1)
        _exit(98);
    if (letter == 'f' && start() == 0) {
        wait_for_end_of_input();
        _exit(0);
    }
    if (write(1, "x", 1) != 1)
        _exit(97);
    if (letter == 'f')
        wait_for_end_of_input();
    return number;
}

/* Has one thread beside the first at any time: it ends at one byte, and the
   next one starts a child. Writes "r" when a thread is there. */
static int replace_thread(void) {
    pthread_t thread;
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&thread, NULL, step, NULL) || write(1, "r", 1) != 1)
            die("thread");
        pthread_join(thread, NULL);
    }
    wait(NULL);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "tree"))
        return tree();
    if (!strcmp(what, "churn"))
        return churn(4, 400);
    if (!strcmp(what, "replace-thread"))
        return replace_thread();
    if (!strcmp(what, "wait")) {
        wait_for_end_of_input();
        return 5;
    }
    if (!strcmp(what, "ready")) {
        if (write(1, "r", 1) != 1)
            die("write");
        wait_for_end_of_input();
        return 0;
    }
    if (!strcmp(what, "exit"))
        return argc > 2 ? atoi(argv[2]) : 0;
    fprintf(stderr, "job: unknown: %s\n", what);
    return 2;
}
