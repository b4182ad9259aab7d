/*
 * csrc/linux/signal_job.c on real processes, down the lists of children and by
 * a scan of the machine.
 *
 *     test_signal_job lists|scan
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "procfs.h"
#include "state.h"

/* Lists the children of a process for signal_job.c; see below. */
static int list_children(int proc_fd, int32_t pid, mw_pids *found);

#define mw_procfs_children_of_all list_children
#include "linux/signal_job.c"
#undef mw_procfs_children_of_all

enum { PATIENCE_MS = 60000 };

static struct mw_platform platform;

static void pause_briefly(void) {
    struct timespec time = {.tv_nsec = 2000000};
    nanosleep(&time, NULL);
}

/* Each process writes a byte here when it is ready. */
static int ready[2];

static void wait_for_ready(int count) {
    for (char byte; count; count--)
        CHECK(read(ready[0], &byte, 1) == 1);
}

static _Noreturn void linger(void) {
    CHECK(write(ready[1], "", 1) == 1);
    for (int waited = 0; waited < PATIENCE_MS; waited += 2)
        pause_briefly();
    _exit(1);
}

static void *linger_in_thread(void *nothing) {
    (void)nothing;
    linger();
}

static size_t signal_all(int number, int reap, mw_pids *found, int *reaped) {
    found->count = 0;
    int result = mw_platform_signal_job(&platform, number, reap, found);
    CHECK(result >= 0);
    if (reaped)
        *reaped += result;
    return found->count;
}

/* Waits until this many processes live. A process that gets another parent
   while the lists are read may be missing in one walk, so several in a row must
   agree. */
static void wait_for(size_t count, mw_pids *found) {
    for (int waited = 0, agreed = 0; agreed < 3; waited += 2) {
        CHECK(waited < PATIENCE_MS);
        agreed = signal_all(0, 0, found, NULL) == count ? agreed + 1 : 0;
        pause_briefly();
    }
}

static pid_t start(void (*what)(void)) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        what();
        linger();
    }
    return pid;
}

static void nothing(void) {}

static void ignore_term(void) { signal(SIGTERM, SIG_IGN); }

static void with_child(void) {
    setsid();
    start(ignore_term);
}

static void leave_orphan(void) {
    setsid();
    start(ignore_term);
    _exit(0);
}

/* Ends the first thread of a process before the other. */
static void leave_thread(void) {
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, linger_in_thread, NULL));
    pthread_exit(NULL);
}

static void test_all(void) {
    mw_pids found = {0};
    int reaped = 0;
    pid_t other = start(nothing);
    CHECK(!mw_pids_add(&platform.other_children, other));
    wait_for_ready(1);
    wait_for(0, &found);

    pid_t root = platform.root_pid = start(nothing);
    pid_t plain = start(nothing);
    start(with_child);
    start(leave_orphan);
    pid_t threaded = start(leave_thread);
    wait_for_ready(6);
    wait_for(6, &found);
    CHECK(mw_pids_have(&found, root) && mw_pids_have(&found, plain) &&
          mw_pids_have(&found, threaded));
    CHECK(!mw_pids_have(&found, other) && !mw_pids_have(&found, getpid()));

    /* Two ignore it, and one has lost its parent by now. */
    CHECK(signal_all(SIGTERM, 0, &found, NULL) == 6);
    wait_for(2, &found);
    CHECK(!mw_pids_have(&found, plain) && !mw_pids_have(&found, threaded));

    /* None was reaped yet: now all are, except the root. */
    CHECK(signal_all(0, 1, &found, &reaped) == 2);
    CHECK(reaped == 4);
    while (signal_all(SIGKILL, 1, &found, &reaped))
        pause_briefly();
    wait_for(0, &found);
    signal_all(0, 1, &found, &reaped);
    CHECK(reaped == 6);

    int status;
    CHECK(waitpid(root, &status, 0) == root);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    CHECK(waitpid(other, &status, WNOHANG) == 0);
    kill(other, SIGKILL);
    CHECK(waitpid(other, &status, 0) == other);
    CHECK(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
    free(found.pid);
}

/* The process that ends, its child with it becoming an orphan, just before its
   children are listed. */
static pid_t ends_when_listed;
static pid_t its_child;

static int32_t parent_of(pid_t pid) {
    char path[MW_PATH];
    mw_stat stat;
    snprintf(path, sizeof path, "%d/stat", pid);
    return mw_procfs_stat(platform.proc_fd, path, &stat) ? 0 : stat.ppid;
}

static int list_children(int proc_fd, int32_t pid, mw_pids *found) {
    if (pid == ends_when_listed) {
        ends_when_listed = 0;
        kill(pid, SIGKILL);
        for (int waited = 0; parent_of(its_child) != getpid(); waited += 2) {
            CHECK(waited < PATIENCE_MS);
            pause_briefly();
        }
    }
    return mw_procfs_children_of_all(proc_fd, pid, found);
}

static int terms[2];

static void note_term(int number) {
    (void)number;
    CHECK(write(terms[1], "", 1) == 1);
}

static void count_terms(void) { signal(SIGTERM, note_term); }

static void with_counting_child(void) {
    pid_t child = start(count_terms);
    CHECK(write(terms[1], &child, sizeof child) == sizeof child);
}

/* A process that becomes an orphan when the adopter's children are listed
   already, and its parent's are not, is missed by that walk. It gets the signal
   in the next one; and each process gets it once. */
static void test_missed_once(void) {
    mw_pids found = {0};
    CHECK(!pipe(terms));
    platform.root_pid = start(count_terms);
    pid_t parent = start(with_counting_child);
    CHECK(read(terms[0], &its_child, sizeof its_child) == sizeof its_child);
    wait_for_ready(3);
    ends_when_listed = parent;
    signal_all(SIGTERM, 0, &found, NULL);
    CHECK(!ends_when_listed);
    CHECK(mw_pids_have(&found, its_child));
    CHECK(mw_pids_have(&found, platform.root_pid));
    for (int i = 0; i < 2; i++) {
        char byte;
        CHECK(read(terms[0], &byte, 1) == 1);
    }
    while (signal_all(SIGKILL, 1, &found, NULL))
        pause_briefly();
    /* All that could write have ended: what is left would be a second one. */
    close(terms[1]);
    char byte;
    CHECK(read(terms[0], &byte, 1) == 0);
    close(terms[0]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    platform.root_pid = 0;
    free(found.pid);
}

static void test_refused(void) {
    mw_pids found = {0};
    struct mw_platform before = platform;
    platform.real = 0;
    CHECK(mw_platform_signal_job(&platform, 0, 0, &found) == -ENOTSUP);
    platform = before;
    platform.has_other_children = 1;
    CHECK(mw_platform_signal_job(&platform, 0, 0, &found) == -ENOTSUP);
    platform = before;
    platform.adopter_pid = 0;
    CHECK(mw_platform_signal_job(&platform, 0, 0, &found) == -ENOTSUP);
    platform = before;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1ul));
    CHECK(!pipe(ready));
    char path[MW_PATH];
    int pid = (int)getpid();
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    platform.real = 1;
    platform.adopter_pid = pid;
    platform.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(platform.proc_fd >= 0);
    platform.adopter_children_fd = -1;
    if (!strcmp(argv[1], "lists")) {
        platform.adopter_children_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (platform.adopter_children_fd < 0) {
            puts("this kernel has no lists of children");
            return 77;
        }
    }
    test_refused();
    if (platform.adopter_children_fd >= 0)
        test_missed_once();
    test_all();
    free(platform.other_children.pid);
    return 0;
}
