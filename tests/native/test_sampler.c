/*
 * The sampler on real processes: the jobs of job.c, read by a second thread
 * while the sampling thread runs. To be run under ThreadSanitizer and under
 * AddressSanitizer.
 *
 *     test_sampler JOB CASE
 *
 * Every process started here reads from a pipe whose only writing end this
 * process has, so none outlives it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "memwatch.h"
#include "stream.h"

extern char **environ;

static const int64_t MS = 1000000;

/* Longest wait for anything; only a failure takes that long. */
enum { DEADLINE_S = 60 };

static char *job_path;

/* --- jobs --- */

typedef struct {
    int32_t pid;
    int to;   /* its standard input */
    int from; /* its standard output */
} job;

static void open_pipe(int *read_end, int *write_end) {
    int ends[2];
    CHECK(!pipe2(ends, O_CLOEXEC));
    *read_end = ends[0];
    *write_end = ends[1];
}

static job start_job(const char *what, const char *argument) {
    job made;
    int in, out;
    open_pipe(&in, &made.to);
    open_pipe(&made.from, &out);
    CHECK(dup2(in, 0) == 0);
    close(in);
    char *argv[] = {job_path, (char *)(uintptr_t)what,
                    (char *)(uintptr_t)argument, NULL};
    mw_spawn_options options = {.stdout_fd = out, .stderr_fd = -1};
    CHECK(!mw_spawn(&options, argv, environ, &made.pid));
    close(out);
    return made;
}

static void end_input(job *of) {
    if (of->to >= 0)
        close(of->to);
    of->to = -1;
}

static void close_job(job *of) {
    end_input(of);
    close(of->from);
}

static void send(const job *to, char letter) {
    CHECK(write(to->to, &letter, 1) == 1);
}

static void expect(const job *from, char letter) {
    char got = 0;
    struct pollfd fd = {.fd = from->from, .events = POLLIN};
    CHECK(poll(&fd, 1, DEADLINE_S * 1000) == 1);
    CHECK(read(from->from, &got, 1) == 1 && got == letter);
}

static int has_other_children;

static mw_sampler *new_sampler(uint32_t max_descriptors) {
    mw_sampler_options options = {.proc_root = "/proc",
                                  .interval = MS,
                                  .batch = 5 * MS,
                                  .adopter_pid = getpid(),
                                  .has_other_children = has_other_children,
                                  .max_descriptors = max_descriptors};
    mw_sampler *sampler = NULL;
    CHECK(!mw_sampler_new(&options, &sampler) && sampler);
    return sampler;
}

static void check_no_error(mw_sampler *sampler) {
    mw_sampler_stats stats;
    mw_sampler_stats_read(sampler, &stats);
    CHECK(!stats.error && !stats.scanning);
}

static void check_exit_code(const stream *in, int code) {
    CHECK(in->complete && in->has_root_status);
    CHECK(WIFEXITED(in->root_status) && WEXITSTATUS(in->root_status) == code);
    /* The root has been reaped. */
    CHECK(waitpid(in->process[1].pid, NULL, WNOHANG) == -1 && errno == ECHILD);
}

/* Reaps the orphans that have outlived the root. */
static void reap_all(void) {
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    CHECK(errno == ECHILD);
}

static int count_open(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* --- the reading thread --- */

typedef struct {
    mw_sampler *sampler;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    stream *in;
    int ended;
} reader;

static void *read_all(void *argument) {
    reader *r = argument;
    for (int ended = 0; !ended;) {
        int reasons = mw_sampler_wait(r->sampler, -1, DEADLINE_S * 1000);
        CHECK(reasons >= 0);
        ended = (reasons & MW_WAKE_ENDED) != 0;
        pthread_mutex_lock(&r->lock);
        stream_read(r->in, r->sampler);
        r->ended = ended;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

static void start_reader(reader *r, mw_sampler *sampler) {
    r->sampler = sampler;
    r->in = stream_new();
    r->ended = 0;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    CHECK(!pthread_create(&r->thread, NULL, read_all, r));
}

/* Waits until `alive` processes were there at one tick. */
static void await_alive(reader *r, uint64_t alive) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&r->lock);
    while (r->in->most_alive < alive) {
        CHECK(!r->ended);
        CHECK(!pthread_cond_timedwait(&r->changed, &r->lock, &deadline));
    }
    pthread_mutex_unlock(&r->lock);
}

static void finish_reader(reader *r) {
    CHECK(!pthread_join(r->thread, NULL));
    size_t count = 1, text_count = 1;
    CHECK(!mw_sampler_read(r->sampler, NULL, 0, NULL, 0, &count, &text_count));
    CHECK(!count && !text_count);
}

static void free_reader(reader *r) {
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    stream_free(r->in);
}

/* --- cases --- */

static void follow_tree(uint32_t max_descriptors) {
    mw_sampler *sampler = new_sampler(max_descriptors);
    job tree = start_job("tree", NULL);
    reader r;
    CHECK(!mw_sampler_start(sampler, tree.pid));
    CHECK(mw_sampler_start(sampler, tree.pid) == -EBUSY);
    CHECK(mw_sampler_tick(sampler, tree.pid, mw_now()) == -EBUSY);
    start_reader(&r, sampler);
    await_alive(&r, 5);
    check_no_error(sampler);
    end_input(&tree);
    finish_reader(&r);
    check_exit_code(r.in, 7);
    /* The five, and the parent of the orphan if a tick has found it. */
    CHECK(r.in->started == 5 || r.in->started == 6);
    CHECK(r.in->images >= r.in->started);
    check_no_error(sampler);
    mw_sampler_stats stats;
    mw_sampler_stats_read(sampler, &stats);
    CHECK((stats.unkept > 0) == (max_descriptors < 10));
    mw_sampler_free(sampler);
    free_reader(&r);
    close_job(&tree);
    reap_all();
}

static void tree(void) { follow_tree(4096); }

static void tree_by_path(void) { follow_tree(0); }

static void tree_by_both(void) { follow_tree(5); }

static void churn(void) {
    mw_sampler *sampler = new_sampler(4096);
    job busy = start_job("churn", NULL);
    reader r;
    CHECK(!mw_sampler_start(sampler, busy.pid));
    start_reader(&r, sampler);
    finish_reader(&r);
    check_exit_code(r.in, 3);
    CHECK(r.in->started >= 1 && r.in->started <= 401);
    check_no_error(sampler);
    mw_sampler_free(sampler);
    free_reader(&r);
    close_job(&busy);
    reap_all();
}

static void short_jobs(void) {
    int before = 0;
    for (int i = 0; i < 200; i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", i % 256);
        mw_sampler *sampler = new_sampler(i % 3 ? 4096 : 0);
        job brief = start_job("exit", code);
        reader r;
        CHECK(!mw_sampler_start(sampler, brief.pid));
        start_reader(&r, sampler);
        finish_reader(&r);
        check_exit_code(r.in, i % 256);
        CHECK(r.in->started == 1 && r.in->ticks >= 1);
        check_no_error(sampler);
        mw_sampler_free(sampler);
        free_reader(&r);
        close_job(&brief);
        if (i == 10)
            before = count_open();
    }
    CHECK(count_open() == before);
    reap_all();
}

/* A sampler is freed at any moment: before its thread has begun, and while it
   makes ticks. */
static void free_while_running(void) {
    job idle = start_job("wait", NULL);
    int before = count_open();
    for (int i = 0; i < 200; i++) {
        mw_sampler *sampler = new_sampler(4096);
        CHECK(!mw_sampler_start(sampler, idle.pid));
        if (i % 4 == 1)
            CHECK(mw_sampler_wait(sampler, -1, DEADLINE_S * 1000) > 0);
        if (i % 4 == 2)
            CHECK(mw_sampler_wait(sampler, -1, 0) >= 0);
        mw_sampler_free(sampler);
    }
    CHECK(count_open() == before);
    end_input(&idle);
    int status;
    CHECK(waitpid(idle.pid, &status, 0) == idle.pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    close_job(&idle);
}

static void free_unstarted(void) {
    int before = count_open();
    mw_sampler_free(NULL);
    for (int i = 0; i < 100; i++)
        mw_sampler_free(new_sampler(4096));
    CHECK(count_open() == before);
}

static void refused_options(void) {
    int before = count_open();
    mw_sampler_options options = {
        .proc_root = "/proc", .interval = MS, .batch = MS};
    mw_sampler *sampler = (mw_sampler *)&options;
    options.interval = 0;
    CHECK(mw_sampler_new(&options, &sampler) == -EINVAL && !sampler);
    options.interval = MS;
    options.batch = -1;
    CHECK(mw_sampler_new(&options, &sampler) == -EINVAL && !sampler);
    options.batch = MS;
    options.proc_root = "/no/such/place";
    CHECK(mw_sampler_new(&options, &sampler) == -ENOENT && !sampler);
    options.proc_root = "/proc/self/stat";
    CHECK(mw_sampler_new(&options, &sampler) == -ENOTDIR && !sampler);
    CHECK(count_open() == before);
}

/* The root has ended and was reaped before the first tick. */
static void root_gone(void) {
    job brief = start_job("exit", "4");
    CHECK(waitpid(brief.pid, NULL, 0) == brief.pid);
    mw_sampler *sampler = new_sampler(4096);
    CHECK(!mw_sampler_start(sampler, brief.pid));
    CHECK(mw_sampler_wait(sampler, -1, DEADLINE_S * 1000) & MW_WAKE_ENDED);
    stream *in = stream_new();
    stream_read(in, sampler);
    CHECK(in->started == 0 && in->ticks == 1);
    stream_free(in);
    mw_sampler_free(sampler);
    close_job(&brief);
}

static void *wake_reader(void *sampler) {
    mw_sampler_wake(sampler);
    return NULL;
}

/* mw_sampler_wait() returns for a second descriptor, after the time-out, and
   when another thread asks for it. */
static void wait_reasons(void) {
    mw_sampler *sampler = new_sampler(4096);
    int read_end, write_end;
    open_pipe(&read_end, &write_end);
    CHECK(mw_sampler_wait(sampler, read_end, 0) == 0);
    CHECK(write(write_end, "x", 1) == 1);
    CHECK(mw_sampler_wait(sampler, read_end, -1) == MW_WAKE_OTHER);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wake_reader, sampler) == 0);
    CHECK(mw_sampler_wait(sampler, -1, -1) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(mw_sampler_wait(sampler, read_end, -1) == MW_WAKE_OTHER);
    close(read_end);
    close(write_end);
    mw_sampler_free(sampler);
}

/* Ticks in the caller's thread, at times that the caller gives. */
static void own_clock(void) {
    mw_sampler *sampler = new_sampler(4096);
    job idle = start_job("wait", NULL);
    stream *in = stream_new();
    for (int64_t tick = 1; tick <= 50; tick++) {
        CHECK(!mw_sampler_tick(sampler, idle.pid, tick * MS));
        stream_read(in, sampler);
        CHECK(in->time == tick * MS && in->ticks == (uint64_t)tick);
        CHECK(in->alive == 1 && in->process[1].rss > 0);
    }
    end_input(&idle);
    siginfo_t info;
    CHECK(!waitid(P_PID, (id_t)idle.pid, &info, WEXITED | WNOWAIT));
    CHECK(!mw_sampler_tick(sampler, idle.pid, 51 * MS));
    stream_read(in, sampler);
    check_exit_code(in, 5);
    CHECK(in->alive == 0);
    CHECK(mw_sampler_wait(sampler, -1, 0) & MW_WAKE_ENDED);
    stream_free(in);
    mw_sampler_free(sampler);
    close_job(&idle);
}

/* The resident size of a process that stands still is what the kernel says, to
   the page: with descriptors kept, and without. */
static void resident_size(void) {
    for (uint32_t max_descriptors = 0; max_descriptors < 20;
         max_descriptors += 10) {
        mw_sampler *sampler = new_sampler(max_descriptors);
        job idle = start_job("ready", NULL);
        expect(&idle, 'r');
        stream *in = stream_new();
        CHECK(!mw_sampler_tick(sampler, idle.pid, MS));
        stream_read(in, sampler);
        char path[64];
        unsigned long long size, resident;
        snprintf(path, sizeof path, "/proc/%d/statm", idle.pid);
        FILE *statm = fopen(path, "r");
        CHECK(statm && fscanf(statm, "%llu %llu", &size, &resident) == 2);
        fclose(statm);
        CHECK(in->process[1].rss == resident * (uint64_t)sysconf(_SC_PAGESIZE));
        stream_free(in);
        mw_sampler_free(sampler);
        close_job(&idle);
        reap_all();
    }
}

/* With no descriptor left the job is followed as well as possible, and is not
   taken for ended. */
static void no_descriptors(void) {
    mw_sampler *sampler = new_sampler(4096);
    job idle = start_job("wait", NULL);
    stream *in = stream_new();
    stream_read(in, sampler);
    struct rlimit limit, none;
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
    int lowest = dup(0);
    CHECK(lowest > 0);
    close(lowest);
    none = limit;
    none.rlim_cur = (rlim_t)lowest;
    CHECK(!setrlimit(RLIMIT_NOFILE, &none));
    int error = mw_sampler_tick(sampler, idle.pid, MS);
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
    CHECK(!error);
    CHECK(!(mw_sampler_wait(sampler, -1, 0) & MW_WAKE_ENDED));
    CHECK(!mw_sampler_tick(sampler, idle.pid, 2 * MS));
    stream_read(in, sampler);
    CHECK(in->alive == 1 && in->started == 1 && in->process[1].rss > 0);
    end_input(&idle);
    siginfo_t info;
    CHECK(!waitid(P_PID, (id_t)idle.pid, &info, WEXITED | WNOWAIT));
    CHECK(!mw_sampler_tick(sampler, idle.pid, 3 * MS));
    stream_read(in, sampler);
    check_exit_code(in, 5);
    stream_free(in);
    mw_sampler_free(sampler);
    close_job(&idle);
}

static size_t count_threads(int32_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    CHECK(dir);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* One thread ends and another begins, so that their number stays the same: the
   children of the new one are found. */
static void replaced_thread(void) {
    mw_sampler *sampler = new_sampler(4096);
    job threads = start_job("replace-thread", NULL);
    stream *in = stream_new();
    expect(&threads, 'r');
    CHECK(!mw_sampler_tick(sampler, threads.pid, 1000 * MS));
    send(&threads, 'n');
    expect(&threads, 'x');
    expect(&threads, 'r');
    send(&threads, 'f');
    expect(&threads, 'x');
    /* The first thread may still be on its way out. */
    int64_t deadline = mw_now() + DEADLINE_S * 1000 * MS;
    while (count_threads(threads.pid) != 2)
        CHECK(mw_now() < deadline);
    for (int64_t tick = 2; tick <= 4; tick++)
        CHECK(!mw_sampler_tick(sampler, threads.pid, tick * 1000 * MS));
    stream_read(in, sampler);
    CHECK(in->alive == 2);
    stream_free(in);
    mw_sampler_free(sampler);
    close_job(&threads);
    reap_all();
}

/* Starts another child of the caller while the job runs. */
static void *start_other(void *argument) {
    job *other = argument;
    *other = start_job("wait", NULL);
    return NULL;
}

/* A child that another thread starts may look like an orphan of the job, but
   its exit status is left to that thread. */
static void foreign_child(void) {
    has_other_children = 1;
    mw_sampler *sampler = new_sampler(4096);
    job idle = start_job("wait", NULL), other;
    stream *in = stream_new();
    CHECK(!mw_sampler_tick(sampler, idle.pid, MS));
    /* When its thread ends, the kernel gives the child to another thread. */
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, start_other, &other));
    CHECK(!pthread_join(thread, NULL));
    end_input(&other);
    siginfo_t info;
    CHECK(!waitid(P_PID, (id_t)other.pid, &info, WEXITED | WNOWAIT));
    CHECK(!mw_sampler_tick(sampler, idle.pid, 2 * MS));
    stream_read(in, sampler);
    int status;
    CHECK(waitpid(other.pid, &status, 0) == other.pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    stream_free(in);
    mw_sampler_free(sampler);
    close_job(&idle);
    close_job(&other);
    reap_all();
}

typedef struct {
    job child;
    int started, may_end; /* pipes */
} older;

static void *start_older(void *argument) {
    older *o = argument;
    char byte;
    o->child = start_job("wait", NULL);
    CHECK(write(o->started, "", 1) == 1);
    CHECK(read(o->may_end, &byte, 1) == 1);
    return NULL;
}

/* Another thread has started a child before the sampler was made; it ends while
   the job runs. */
static void older_child(void) {
    older o;
    int started, may_end;
    char byte = 0;
    pthread_t thread;
    open_pipe(&started, &o.started);
    open_pipe(&o.may_end, &may_end);
    CHECK(!pthread_create(&thread, NULL, start_older, &o));
    CHECK(read(started, &byte, 1) == 1);
    mw_sampler *sampler = new_sampler(4096);
    job idle = start_job("wait", NULL);
    stream *in = stream_new();
    CHECK(!mw_sampler_tick(sampler, idle.pid, MS));
    CHECK(write(may_end, "", 1) == 1);
    CHECK(!pthread_join(thread, NULL));
    CHECK(!mw_sampler_tick(sampler, idle.pid, 2 * MS));
    stream_read(in, sampler);
    CHECK(in->started == 1);
    stream_free(in);
    mw_sampler_free(sampler);
    close_job(&idle);
    close_job(&o.child);
    close(started);
    close(o.started);
    close(may_end);
    close(o.may_end);
    reap_all();
}

static void spawn_errors(void) {
    mw_spawn_options options = {.stdout_fd = -1, .stderr_fd = -1};
    int before = count_open();
    int32_t pid;
    char missing[] = "/no/such/program", plain[] = "/etc/passwd";
    char *no_such[] = {missing, NULL}, *no_program[] = {plain, NULL};
    for (int i = 0; i < 20; i++) {
        CHECK(mw_spawn(&options, no_such, environ, &pid) == -ENOENT);
        CHECK(mw_spawn(&options, no_program, environ, &pid) == -EACCES);
    }
    options.stdout_fd = 1 << 20;
    CHECK(mw_spawn(&options, no_such, environ, &pid) == -EBADF);
    CHECK(count_open() == before);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

/* A plain file in place of a group's cgroup.procs shows what is written. */
static void spawn_in_group(void) {
    char file[] = "/tmp/memwatch-group-XXXXXX";
    int fd = mkstemp(file);
    int32_t error = 1, pid;
    char command[] = "true", missing[] = "/no/such/program";
    char *argv[] = {command, NULL}, *no_such[] = {missing, NULL};
    mw_spawn_options options = {.stdout_fd = -1,
                                .stderr_fd = -1,
                                .group_file = file,
                                .group_error = &error};
    CHECK(!mw_spawn(&options, argv, environ, &pid));
    CHECK(waitpid(pid, NULL, 0) == pid);
    char text[4] = {0};
    CHECK(error == 0 && read(fd, text, sizeof text) == 1 && text[0] == '0');
    close(fd);
    unlink(file);

    /* The command starts without the group, and both errors are told apart. */
    CHECK(!mw_spawn(&options, argv, environ, &pid));
    CHECK(error == -ENOENT && waitpid(pid, NULL, 0) == pid);
    error = 1;
    CHECK(mw_spawn(&options, no_such, environ, &pid) == -ENOENT);
    CHECK(error == -ENOENT);
    options.group_error = NULL;
    CHECK(!mw_spawn(&options, argv, environ, &pid));
    CHECK(waitpid(pid, NULL, 0) == pid);
}

/* A command's stdout goes to where our stderr goes, and the other way round. */
static void spawn_swapped(void) {
    int out, err, new_out, new_err, old_out = dup(1), old_err = dup(2);
    open_pipe(&out, &new_out);
    open_pipe(&err, &new_err);
    char shell[] = "sh", flag[] = "-c", script[] = "echo o; echo e >&2";
    char *argv[] = {shell, flag, script, NULL};
    mw_spawn_options options = {.stdout_fd = 2, .stderr_fd = 1};
    int32_t pid;
    CHECK(dup2(new_out, 1) == 1 && dup2(new_err, 2) == 2);
    int error = mw_spawn(&options, argv, environ, &pid);
    CHECK(dup2(old_out, 1) == 1 && dup2(old_err, 2) == 2);
    close(new_out);
    close(new_err);
    CHECK(!error && waitpid(pid, NULL, 0) == pid);
    char text[8] = {0};
    CHECK(read(err, text, sizeof text) == 2 && text[0] == 'o');
    CHECK(read(out, text, sizeof text) == 2 && text[0] == 'e');
    close(out);
    close(err);
}

static const test_case CASES[] = {
    {"tree", tree},
    {"tree-by-path", tree_by_path},
    {"tree-by-both", tree_by_both},
    {"churn", churn},
    {"short-jobs", short_jobs},
    {"free-while-running", free_while_running},
    {"free-unstarted", free_unstarted},
    {"refused-options", refused_options},
    {"root-gone", root_gone},
    {"wait-reasons", wait_reasons},
    {"own-clock", own_clock},
    {"resident-size", resident_size},
    {"no-descriptors", no_descriptors},
    {"replaced-thread", replaced_thread},
    {"foreign-child", foreign_child},
    {"older-child", older_child},
    {"spawn-errors", spawn_errors},
    {"spawn-in-group", spawn_in_group},
    {"spawn-swapped", spawn_swapped},
};

int main(int argc, char **argv) {
    CHECK(argc == 3);
    job_path = argv[1];
    /* Ends the test if something waits for ever. */
    alarm(4 * DEADLINE_S);
    int previous;
    CHECK(!mw_subreaper(1, &previous) && !previous);
    FIND_CASE(CASES, argv[2])->run();
    return 0;
}
