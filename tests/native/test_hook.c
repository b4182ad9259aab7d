/*
 * The exit hook on real processes: what hooked.c writes about its own children
 * is compared with what the guardian has recorded.
 *
 *     test_hook HOOKED CASE
 *
 * This process is a subreaper, so the guardian and all orphans become its
 * children, and it ends only when they all have. Exit status 77: the hook does
 * not work here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "feed.h"
#include "platform.h"

extern char **environ;

/* Longest wait for anything; only a failure takes that long. */
enum { DEADLINE_S = 60 };

enum { CANNOT = 77 };

static char *own_path;
static char *hooked_path;

typedef struct {
    mw_hook *hook;
    mw_feed *feed;
    mw_event_list events;
    int32_t pid;
    int to;   /* its standard input */
    int from; /* its standard output */
    int status;
    char output[1 << 20];
    size_t output_length;
} job;

/* --- waiting --- */

static int64_t give_up_at(void) { return mw_now() + DEADLINE_S * 1000000000LL; }

static void breathe(int64_t deadline) {
    struct timespec moment = {.tv_nsec = 2000000};
    CHECK(mw_now() < deadline);
    nanosleep(&moment, NULL);
}

static void read_byte(int fd, char expected) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte = 0;
    CHECK(poll(&ready, 1, DEADLINE_S * 1000) == 1);
    CHECK(read(fd, &byte, 1) == 1 && byte == expected);
}

/* Waits until every child has ended, the guardian included. */
static void reap_all(void) {
    int64_t deadline = give_up_at();
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 || errno == EINTR)
        if (pid == 0)
            breathe(deadline);
    CHECK(errno == ECHILD);
}

static int wait_for(pid_t pid) {
    int64_t deadline = give_up_at();
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0)
        breathe(deadline);
    CHECK(got == pid);
    return status;
}

/* --- jobs --- */

static void open_pipe(int *read_end, int *write_end) {
    int ends[2];
    CHECK(!pipe2(ends, O_CLOEXEC));
    *read_end = ends[0];
    *write_end = ends[1];
}

static int start_with(job *j, char *const argv[]) {
    memset(j, 0, sizeof *j);
    int in, out;
    open_pipe(&in, &j->to);
    open_pipe(&j->from, &out);
    CHECK(dup2(in, 0) == 0);
    close(in);
    CHECK(!mw_hook_new(&j->hook));
    CHECK(mw_hook_state(j->hook) == -EAGAIN);
    CHECK(!mw_hook_feed(j->hook, &j->feed));
    CHECK(j->feed->event_fd < 0 && j->feed->exec_fd < 0);
    mw_spawn_options options = {
        .stdout_fd = out, .stderr_fd = -1, .hook = j->hook};
    int error = mw_spawn(&options, argv, environ, &j->pid);
    close(out);
    return error;
}

static void start(job *j, const char *what, const char *argument) {
    char *argv[] = {hooked_path, (char *)(uintptr_t)what,
                    (char *)(uintptr_t)argument, NULL};
    CHECK(!start_with(j, argv));
    CHECK(mw_hook_state(j->hook) == 0);
}

static void drain(job *j) { CHECK(!j->feed->drain(j->feed, &j->events)); }

/* Reads the job's output and the guardian's records until the job ends. */
static void watch(job *j) {
    int64_t deadline = give_up_at();
    struct pollfd fd = {.fd = j->from, .events = POLLIN};
    ssize_t n = 1;
    while (n > 0) {
        CHECK(mw_now() < deadline);
        if (poll(&fd, 1, 5) == 1) {
            n = read(j->from, j->output + j->output_length,
                     sizeof j->output - j->output_length - 1);
            CHECK(n >= 0);
            j->output_length += (size_t)n;
        }
        drain(j);
    }
    j->status = wait_for(j->pid);
}

/* Waits for the guardian's end: then no record is missing. */
static void finish(job *j) {
    if (j->to >= 0)
        close(j->to);
    reap_all();
    drain(j);
    CHECK(j->feed->lost == 0);
}

static void end(job *j) {
    mw_hook_free(j->hook);
    mw_event_list_free(&j->events);
    close(j->from);
}

static void run(job *j, const char *what, const char *argument, int status) {
    start(j, what, argument);
    watch(j);
    finish(j);
    CHECK(j->status == status << 8);
}

/* --- what was recorded --- */

static bool is_about(const mw_event *item, uint32_t kind, int32_t pid) {
    return item->kind == kind && item->pid == pid;
}

static size_t count_events(const job *j, uint32_t kind, int32_t pid) {
    size_t count = 0;
    for (size_t i = 0; i < j->events.count; i++)
        count += is_about(&j->events.items[i], kind, pid);
    return count;
}

static size_t count_kind(const job *j, uint32_t kind) {
    size_t count = 0;
    for (size_t i = 0; i < j->events.count; i++)
        count += j->events.items[i].kind == kind;
    return count;
}

/* Returns the end of a process, which must have been recorded once. */
static const mw_event *last_of(const job *j, int32_t pid) {
    CHECK(count_events(j, MW_EVENT_EXITING, pid) == 1);
    const mw_event *item = j->events.items;
    while (!is_about(item, MW_EVENT_EXITING, pid))
        item++;
    return item;
}

/* Returns the `number`th string of an image's text. */
static const char *string_of(const job *j, const mw_event *item, int number) {
    const char *at = j->events.text + item->text;
    const char *stop = at + item->text_length;
    CHECK(item->text_length && !stop[-1]);
    for (; number; number--) {
        at += strlen(at) + 1;
        CHECK(at < stop);
    }
    return at;
}

static void check_image(const job *j, const mw_event *item, const char *what) {
    char exe[PATH_MAX], cwd[PATH_MAX];
    CHECK(realpath(hooked_path, exe) && getcwd(cwd, sizeof cwd));
    CHECK(item->valid & MW_HAS_EXE && item->valid & MW_HAS_ARGV);
    CHECK(item->valid & MW_HAS_CWD && !strcmp(string_of(j, item, 2), cwd));
    CHECK(!(item->valid & (MW_ARGV_CUT | MW_INHERITED)));
    CHECK(!strcmp(string_of(j, item, 1), exe));
    CHECK(!strcmp(string_of(j, item, 4), what));
}

/* Checks that one end is recorded for every process that the job has written
   about, and for itself, and no others. Returns how many, without itself. */
static size_t check_ends(const job *j) {
    const char *at = j->output;
    size_t count = 0;
    int pid, ppid, status, used;
    unsigned long peak;
    while (sscanf(at, "%d %d %d %lu\n%n", &pid, &ppid, &status, &peak, &used) ==
           4) {
        at += used;
        const mw_event *item = last_of(j, pid);
        CHECK(item->ppid == ppid);
        CHECK(item->valid & MW_HAS_STATUS && item->status == status);
        CHECK(item->valid & MW_HAS_WATERMARK && item->peak);
        CHECK(!peak || item->peak == peak);
        CHECK(item->valid & MW_HAS_START && item->start <= item->time);
        CHECK(item->valid & MW_HAS_CPU && item->exec_id);
        count += pid != j->pid;
    }
    CHECK(!*at);
    last_of(j, j->pid);
    CHECK(last_of(j, j->pid)->ppid == getpid());
    CHECK(count_kind(j, MW_EVENT_EXITING) == count + 1);
    for (size_t i = 1; i < j->events.count; i++)
        CHECK(j->events.items[i].time >= j->events.items[i - 1].time);
    return count;
}

static void test_storm(job *j) {
    run(j, "storm", "500", 3);
    CHECK(check_ends(j) == 500);
    check_image(j, last_of(j, j->pid), "storm");
    /* All were forked, and have executed nothing. */
    for (size_t i = 0; i < j->events.count; i++) {
        const mw_event *item = &j->events.items[i];
        CHECK(item->pid == j->pid || item->valid & MW_INHERITED);
        CHECK(item->kind == MW_EVENT_EXECUTING ||
              !strcmp(string_of(j, item, 4), "storm"));
    }
}

static void test_spawn_storm(job *j) {
    run(j, "spawn-storm", "300", 4);
    CHECK(check_ends(j) == 300);
    CHECK(count_kind(j, MW_EVENT_EXECUTING) == 301);
    for (size_t i = 0; i < j->events.count; i++) {
        const mw_event *item = &j->events.items[i];
        if (item->kind == MW_EVENT_EXECUTING) {
            CHECK(item->valid == (MW_INHERITED | MW_HAS_START));
            CHECK(!item->text_length && item->ppid);
        } else if (item->pid != j->pid) {
            check_image(j, item, "exit");
        }
    }
}

static void test_vfork_storm(job *j) {
    run(j, "vfork-storm", "200", 6);
    CHECK(check_ends(j) == 200);
    for (size_t i = 0; i < j->events.count; i++)
        CHECK(j->events.items[i].pid == j->pid ||
              j->events.items[i].valid & MW_INHERITED);
}

static void test_peak(job *j) {
    run(j, "peak", "64", 7);
    check_ends(j);
    CHECK(last_of(j, j->pid)->peak >= 64 << 20);
}

static void test_chain(job *j) {
    run(j, "chain", "3", 8);
    check_ends(j);
    /* The command itself, and three more images. */
    CHECK(count_events(j, MW_EVENT_EXECUTING, j->pid) == 4);
    uint64_t exec_id = 0;
    int number = 3;
    for (size_t i = 1; i < j->events.count; i++) {
        const mw_event *item = &j->events.items[i];
        char argument[2] = {(char)('0' + number--), '\0'};
        check_image(j, item, "chain");
        CHECK(!strcmp(string_of(j, item, 5), argument));
        CHECK(item->valid & MW_HAS_WATERMARK && item->exec_id != exec_id);
        exec_id = item->exec_id;
    }
}

static void test_long_command(job *j) {
    run(j, "long-command", "100000", 0);
    check_ends(j);
    const mw_event *item = last_of(j, j->pid);
    check_image(j, item, "nothing");
    CHECK(strlen(string_of(j, item, 5)) == 100000);
}

static void test_threads(job *j) {
    run(j, "threads", NULL, 13);
    CHECK(check_ends(j) == 3);
    /* The process whose second thread executes something does it again, with
       its only thread. */
    size_t seen = 0;
    for (size_t i = 0; i < j->events.count; i++) {
        const mw_event *item = &j->events.items[i];
        if (item->kind != MW_EVENT_EXECUTING || item->pid == j->pid)
            continue;
        if (seen++ == 0)
            CHECK(item->valid & MW_INHERITED && item->valid & MW_HAS_WATERMARK);
        else
            check_image(j, item, "again");
    }
    CHECK(seen == 2);
}

static void test_filters(job *j) {
    run(j, "filters", NULL, 16);
    CHECK(check_ends(j) == 2);
}

/* A process that is killed is not recorded; the one after it is. */
static void test_killed(job *j) {
    run(j, "killed", NULL, 18);
    CHECK(check_ends(j) == 1);
}

static void test_compatible(job *j) {
    run(j, "compatible", NULL, 26);
    check_ends(j);
}

static void test_path_search(job *j) {
    char folder[PATH_MAX], path[PATH_MAX + 64];
    CHECK(strlen(hooked_path) < sizeof folder);
    strcpy(folder, hooked_path);
    char *name = strrchr(folder, '/');
    CHECK(name);
    *name++ = '\0';
    snprintf(path, sizeof path, "/nonexistent/1:/nonexistent/2:%s", folder);
    setenv("PATH", path, 1);
    char *argv[] = {name, (char *)(uintptr_t)"exit", (char *)(uintptr_t)"5",
                    NULL};
    CHECK(!start_with(j, argv));
    watch(j);
    finish(j);
    CHECK(j->status == 5 << 8);
    CHECK(count_kind(j, MW_EVENT_EXECUTING) == 3);
    for (size_t i = 0; i < 3; i++)
        CHECK(j->events.items[i].valid == (MW_INHERITED | MW_HAS_START));
    check_image(j, last_of(j, j->pid), "exit");
}

/* --- things that go wrong --- */

static void test_not_found(job *j) {
    char *argv[] = {(char *)(uintptr_t)"/nonexistent/program", NULL};
    CHECK(start_with(j, argv) == -ENOENT);
    close(j->to);
    reap_all();
    drain(j);
    CHECK(count_kind(j, MW_EVENT_EXITING) == 1);
}

static void test_unused(job *j) {
    CHECK(!mw_hook_new(&j->hook));
    mw_hook_free(j->hook);
    j->hook = NULL;
    reap_all();
    mw_hook_free(NULL);
    j->from = -1;
}

/* Runs in a job of test_nested(). */
static int inner(void) {
    static job j;
    char *argv[] = {hooked_path, (char *)(uintptr_t)"exit",
                    (char *)(uintptr_t)"7", NULL};
    CHECK(mw_hook_probe() == -EBUSY);
    CHECK(!start_with(&j, argv));
    CHECK(mw_hook_state(j.hook) == -EBUSY);
    watch(&j);
    finish(&j);
    CHECK(j.status == 7 << 8 && !j.events.count);
    end(&j);
    return 23;
}

static void test_nested(job *j) {
    char *argv[] = {own_path, hooked_path, (char *)(uintptr_t)"inner", NULL};
    CHECK(!start_with(j, argv));
    watch(j);
    finish(j);
    CHECK(j->status == 23 << 8);
    CHECK(last_of(j, j->pid)->status == 23 << 8);
}

/* While no one reads the ring, records without room are counted, and no process
   waits. */
static void test_full_ring(job *j) {
    start(j, "many-long-commands", "100");
    j->status = wait_for(j->pid);
    CHECK(j->status == 9 << 8);
    close(j->to);
    reap_all();
    drain(j);
    CHECK(j->feed->lost >= 50);
    CHECK(j->feed->lost + j->events.count == 202);
}

/* --- the guardian itself --- */

static int read_number(int32_t pid, const char *key, int base,
                       unsigned long long *value) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key))) {
            *value = strtoull(line + strlen(key), NULL, base);
            found = 1;
        }
    if (file)
        fclose(file);
    return found;
}

/* Returns the child of this process that is not the job. */
static int32_t find_guardian(const job *j) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *file = fopen(path, "r");
    CHECK(file);
    int pid, found = 0;
    while (fscanf(file, "%d", &pid) == 1)
        if (pid != j->pid)
            found = pid;
    fclose(file);
    CHECK(found);
    return found;
}

static int count_descriptors(int32_t pid, int *others) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    CHECK(dir);
    int count = 0;
    *others = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        ssize_t n =
            readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        count++;
        *others += strncmp(target, "socket:", 7) && strcmp(target, "/proc") &&
                   !strstr(target, "seccomp");
    }
    closedir(dir);
    return count;
}

static void test_apart(job *j) {
    start(j, "later", "0");
    read_byte(j->from, 'r');
    int32_t guardian = find_guardian(j);
    int others;
    CHECK(count_descriptors(guardian, &others) == 3 && !others);
    CHECK(getsid(guardian) != getsid(0) && getpgid(guardian) != getpgid(0));
    unsigned long long blocked;
    CHECK(read_number(guardian, "SigBlk:", 16, &blocked));
    /* All are blocked except SIGKILL, SIGSTOP and the two that the C library
       keeps. */
    CHECK((blocked | 1ull << 31 | 1ull << 32 | 1ull << 8 | 1ull << 18) ==
          ~0ull);
    kill(guardian, SIGINT);
    kill(guardian, SIGTERM);
    kill(guardian, SIGHUP);
    close(j->to);
    j->to = -1;
    watch(j);
    finish(j);
    CHECK(j->status == 20 << 8);
}

/* A job ends and leaves a process behind. */
static void test_leave(job *j) {
    start(j, "leave", NULL);
    CHECK(wait_for(j->pid) == 22 << 8);
    drain(j);
    int64_t deadline = give_up_at();
    while (!count_events(j, MW_EVENT_EXITING, j->pid)) {
        breathe(deadline);
        drain(j);
    }
    CHECK(count_kind(j, MW_EVENT_EXITING) == 1);
    finish(j);
    CHECK(count_kind(j, MW_EVENT_EXITING) == 2);
}

static void test_guardian_killed(job *j) {
    start(j, "later", "0");
    read_byte(j->from, 'r');
    int32_t guardian = find_guardian(j);
    kill(guardian, SIGKILL);
    wait_for(guardian);
    CHECK(j->feed->drain(j->feed, &j->events) == -EPIPE);
    CHECK(j->feed->drain(j->feed, &j->events) == 0);
    kill(j->pid, SIGKILL);
    wait_for(j->pid);
    finish(j);
}

/* Starts a process that starts a job and then only waits. This process has the
   job's pid and its two pipes. */
static pid_t start_maker(job *j) {
    int in, out;
    memset(j, 0, sizeof *j);
    open_pipe(&in, &j->to);
    open_pipe(&j->from, &out);
    int32_t *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pid_t maker = fork();
    CHECK(maker >= 0);
    if (maker == 0) {
        mw_hook *hook;
        char *argv[] = {hooked_path, (char *)(uintptr_t)"later",
                        (char *)(uintptr_t)"100", NULL};
        close(j->to);
        close(j->from);
        CHECK(dup2(in, 0) == 0);
        CHECK(!mw_hook_new(&hook));
        mw_spawn_options options = {
            .stdout_fd = out, .stderr_fd = -1, .hook = hook};
        int32_t pid;
        CHECK(!mw_spawn(&options, argv, environ, &pid));
        CHECK(!mw_hook_state(hook));
        close(out);
        *shared = pid;
        for (;;)
            pause();
    }
    close(in);
    close(out);
    read_byte(j->from, 'r');
    int64_t deadline = give_up_at();
    while (!*(volatile int32_t *)shared)
        breathe(deadline);
    j->pid = *shared;
    munmap(shared, sizeof *shared);
    return maker;
}

static void test_maker_killed(job *j) {
    pid_t maker = start_maker(j);
    kill(maker, SIGKILL);
    CHECK(wait_for(maker) == SIGKILL);
    close(j->to);
    /* Its own status says that all its children ended as they should. */
    read_byte(j->from, 'd');
    CHECK(wait_for(j->pid) == 20 << 8);
    reap_all();
}

static void test_maker_stopped(job *j) {
    pid_t maker = start_maker(j);
    int status;
    kill(maker, SIGSTOP);
    CHECK(waitpid(maker, &status, WUNTRACED) == maker && WIFSTOPPED(status));
    close(j->to);
    read_byte(j->from, 'd');
    /* It has really ended: its end of the pipe is closed. */
    struct pollfd fd = {.fd = j->from, .events = POLLIN};
    char byte;
    CHECK(poll(&fd, 1, DEADLINE_S * 1000) == 1);
    CHECK(read(j->from, &byte, 1) == 0);
    kill(maker, SIGKILL);
    CHECK(wait_for(maker) == SIGKILL);
    CHECK(wait_for(j->pid) == 20 << 8);
    reap_all();
}

static void test_probe(job *j) {
    CHECK(mw_hook_probe() == 0);
    /* The filter was not set in this process. */
    unsigned long long filters;
    if (read_number(getpid(), "Seccomp_filters:", 10, &filters))
        CHECK(filters == 0);
    run(j, "exit", "24", 24);
}

static const struct {
    const char *name;
    void (*run)(job *);
} CASES[] = {
    {"probe", test_probe},
    {"storm", test_storm},
    {"spawn-storm", test_spawn_storm},
    {"vfork-storm", test_vfork_storm},
    {"peak", test_peak},
    {"chain", test_chain},
    {"long-command", test_long_command},
    {"threads", test_threads},
    {"filters", test_filters},
    {"killed", test_killed},
    {"compatible", test_compatible},
    {"path-search", test_path_search},
    {"not-found", test_not_found},
    {"unused", test_unused},
    {"nested", test_nested},
    {"full-ring", test_full_ring},
    {"apart", test_apart},
    {"leave", test_leave},
    {"guardian-killed", test_guardian_killed},
    {"maker-killed", test_maker_killed},
    {"maker-stopped", test_maker_stopped},
};

int main(int argc, char **argv) {
    static job j;
    CHECK(argc == 3);
    own_path = argv[0];
    hooked_path = argv[1];
    CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(argv[2], "inner"))
        return inner();
    int error = mw_hook_probe();
    if (error) {
        printf("%s\n", strerror(-error));
        return CANNOT;
    }
    FIND_CASE(CASES, argv[2])->run(&j);
    end(&j);
    return 0;
}
