/*
 * Runs a job with a known number of live processes, which sleep:
 *
 *     idle_tree PROCESSES SECONDS [CHANGE_MS]
 *
 * Forks PROCESSES - 1 children, writes "ready" to stdout when all are there,
 * and ends after SECONDS (0: never) or at SIGTERM, with no process left. With
 * CHANGE_MS each process changes its resident size that often instead.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHANGING_BYTES = 16 * 4096 };

static struct timespec from_seconds(double seconds) {
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    return time;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Touches the pages at one call, and gives them back at the next. */
static void change_rss(void) {
    static char *pages;
    static int touched;
    if (!pages) {
        pages = mmap(NULL, CHANGING_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED)
            _exit(1);
    }
    if (touched)
        madvise(pages, CHANGING_BYTES, MADV_DONTNEED);
    else
        memset(pages, 1, CHANGING_BYTES);
    touched = !touched;
}

static void live_as_child(double change) {
    struct timespec gap = from_seconds(change);
    for (;;) {
        if (change > 0) {
            nanosleep(&gap, NULL);
            change_rss();
        } else {
            pause();
        }
    }
}

/* Waits until `seconds` have passed or a signal to end comes. */
static void live_as_root(double seconds, double change,
                         const sigset_t *ending) {
    double end = seconds > 0 ? now() + seconds : 1e18;
    for (;;) {
        double left = end - now();
        if (left <= 0)
            return;
        if (left > 3600)
            left = 3600;
        if (change > 0 && change < left)
            left = change;
        struct timespec timeout = from_seconds(left);
        if (sigtimedwait(ending, NULL, &timeout) > 0)
            return;
        if (change > 0)
            change_rss();
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: idle_tree PROCESSES SECONDS [CHANGE_MS]\n");
        return 2;
    }
    int children = atoi(argv[1]) - 1;
    double seconds = atof(argv[2]);
    double change = argc > 3 ? atof(argv[3]) / 1e3 : 0;

    sigset_t ending, before;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, &before);

    pid_t root = getpid();
    pid_t *pids = calloc((size_t)children + 1, sizeof *pids);
    int started = 0;
    for (; pids && started < children; started++) {
        pids[started] = fork();
        if (pids[started] < 0)
            break;
        if (pids[started] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != root)
                _exit(0); /* it died before we could ask for the signal */
            sigprocmask(SIG_SETMASK, &before, NULL);
            live_as_child(change);
        }
    }
    int complete = pids && started == children;
    if (complete) {
        puts("ready");
        fflush(stdout);
        live_as_root(seconds, change, &ending);
    } else {
        perror("idle_tree: fork");
    }
    for (int i = 0; i < started; i++)
        kill(pids[i], SIGKILL);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    free(pids);
    return complete ? 0 : 1;
}
