/*
 * The event sources, each with processes whose lives are known. Arguments: the
 * source and a case, or "probe" to print what mw_probe() returns. Prints "SKIP"
 * and the reason if the source does not work here.
 */
#include "feed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* No test takes that long, on any machine. */
static const int64_t PATIENCE = 60 * 1000000000LL;

enum { MOST = 4096 };

/* One process that a test has made. */
typedef struct {
    int32_t pid;
    int32_t ppid;
    int32_t status;
    unsigned execs;
    unsigned exits; /* of its first thread */
} life;

typedef struct {
    const char *program; /* the path of this one */
    uint32_t source;
    mw_feed *feed;
    mw_event_list list; /* all events so far */
    int64_t begin;
    life lives[MOST];
    size_t count;
    uint64_t lost;
} world;

static life *expect(world *w, pid_t pid, pid_t ppid, int status,
                    unsigned execs) {
    CHECK(pid > 0 && w->count < MOST);
    life *made = &w->lives[w->count++];
    *made = (life){pid, ppid, status, execs, 1};
    return made;
}

static void drain(world *w) {
    size_t from = w->list.count;
    CHECK(!w->feed->drain(w->feed, &w->list));
    for (size_t i = from + 1; i < w->list.count; i++)
        CHECK(w->list.items[i - 1].time <= w->list.items[i].time);
}

static int is_record(const world *w) { return w->source == MW_TASKSTATS; }

/* -- Checking what came --------------------------------------------------- */

static size_t count_events(const world *w, int32_t pid, uint32_t kind) {
    size_t count = 0;
    for (size_t i = 0; i < w->list.count; i++)
        count += w->list.items[i].pid == pid && w->list.items[i].kind == kind;
    return count;
}

static int is_complete(const world *w) {
    for (size_t i = 0; i < w->count; i++)
        if (!count_events(w, w->lives[i].pid,
                          is_record(w) ? MW_EVENT_RECORD : MW_EVENT_EXIT))
            return 0;
    return 1;
}

/* Drains until all ends are there: the connector may report an exit after the
   parent has waited for it. */
static void drain_all(world *w) {
    drain(w);
    while (!is_complete(w)) {
        CHECK(mw_now() < w->begin + PATIENCE);
        struct pollfd fd = {.fd = w->feed->event_fd, .events = POLLIN};
        poll(&fd, 1, 10);
        drain(w);
    }
}

/* Checks the events of one process: exactly what happened, in order. */
static void check_life(const world *w, const life *l, int64_t end) {
    int64_t last = w->begin;
    unsigned seen[MW_EVENT_EXIT + 1] = {0};
    for (size_t i = 0; i < w->list.count; i++) {
        const mw_event *event = &w->list.items[i];
        if (event->pid != l->pid)
            continue;
        CHECK(MW_EVENT_FORK <= event->kind && event->kind <= MW_EVENT_EXIT);
        /* Of other threads only an end with a status other than 0 is
           reported. */
        if (event->kind == MW_EVENT_EXIT && event->tid &&
            event->tid != event->pid) {
            CHECK(event->status);
            continue;
        }
        seen[event->kind]++;
        CHECK(seen[MW_EVENT_FORK] == 1); /* the first thing */
        CHECK(last <= event->time && event->time <= end);
        last = event->time;
        if (event->kind == MW_EVENT_FORK)
            CHECK(event->ppid == l->ppid);
        if (event->kind == MW_EVENT_EXIT) {
            int last_exit = seen[MW_EVENT_EXIT] == l->exits;
            CHECK(!last_exit || seen[MW_EVENT_EXEC] == l->execs);
            CHECK(!(event->valid & MW_HAS_STATUS) ==
                  (w->source != MW_CONNECTOR));
            CHECK(!last_exit || !(event->valid & MW_HAS_STATUS) ||
                  event->status == l->status);
        }
    }
    CHECK(seen[MW_EVENT_FORK] == 1);
    CHECK(seen[MW_EVENT_EXEC] == l->execs);
    CHECK(seen[MW_EVENT_EXIT] == l->exits);
}

static const mw_event *record_of(const world *w, int32_t tid) {
    const mw_event *found = NULL;
    for (size_t i = 0; i < w->list.count; i++)
        if (w->list.items[i].tid == tid) {
            CHECK(!found);
            found = &w->list.items[i];
        }
    CHECK(found);
    return found;
}

/* Checks the name: without its folder, cut as the kernel does it. */
static void check_name(const world *w, const mw_event *event) {
    const char *slash = strrchr(w->program, '/');
    const char *name = slash ? slash + 1 : w->program;
    size_t length = strnlen(name, 15);
    CHECK(event->text_length == length);
    CHECK(!memcmp(w->list.text + event->text, name, length));
}

/* Checks the record of a process with one thread. */
static void check_record(const world *w, const life *l, int64_t end) {
    const mw_event *event = record_of(w, l->pid);
    CHECK(event->kind == MW_EVENT_RECORD);
    CHECK(event->pid == l->pid && event->ppid == l->ppid);
    CHECK(w->begin <= event->time && event->time <= end);
    CHECK(0 < event->elapsed && event->elapsed <= end - w->begin);
    CHECK(event->valid & MW_HAS_STATUS && event->status == l->status);
    CHECK(event->valid & MW_HAS_WATERMARK && event->peak >= 4096);
    CHECK(event->valid & MW_HAS_CPU && event->user >= 0 && event->system >= 0);
    CHECK(event->valid & MW_HAS_IO || access("/proc/self/io", F_OK));
    check_name(w, event);
}

/* Checks that all that was expected has come, and nothing was lost. */
static void check_all(world *w) {
    drain_all(w);
    int64_t end = mw_now();
    CHECK(w->feed->lost == w->lost);
    for (size_t i = 0; i < w->count; i++)
        if (is_record(w))
            check_record(w, &w->lives[i], end);
        else
            check_life(w, &w->lives[i], end);
}

/* -- Making processes ----------------------------------------------------- */

static int wait_for(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void fork_one(world *w, int code) {
    pid_t pid = fork();
    if (!pid)
        _exit(code);
    CHECK(pid > 0);
    expect(w, pid, getpid(), wait_for(pid), 0);
}

/* Starts a process by vfork or its like, as make and most shells do. */
static void spawn_one(world *w, char *code) {
    extern char **environ;
    char *argv[] = {(char *)w->program, "exit", code, NULL};
    pid_t pid;
    CHECK(!posix_spawn(&pid, w->program, NULL, NULL, argv, environ));
    expect(w, pid, getpid(), wait_for(pid), 1);
}

static void fork_and_exec(world *w, unsigned times) {
    char left[16];
    snprintf(left, sizeof left, "%u", times - 1);
    pid_t pid = fork();
    if (!pid) {
        execl(w->program, w->program, "exec-again", left, (char *)NULL);
        _exit(99);
    }
    life *l = expect(w, pid, getpid(), wait_for(pid), times);
    CHECK(l->status == 7 << 8);
}

/* -- Cases for every source ----------------------------------------------- */

static void test_storm(world *w) {
    for (int i = 0; i < 300; i++)
        fork_one(w, i & 255);
    check_all(w);
}

static void test_execs(world *w) {
    for (int i = 0; i < 100; i++)
        spawn_one(w, "3");
    for (unsigned i = 1; i < 6; i++)
        fork_and_exec(w, i);
    check_all(w);
    for (size_t i = 0; w->source == MW_PERF && i < w->list.count; i++)
        if (w->list.items[i].kind == MW_EVENT_EXEC)
            check_name(w, &w->list.items[i]);
}

static void *fork_in_thread(void *arg) {
    world *w = arg;
    for (int i = 0; i < 50; i++)
        fork_one(w, i);
    for (int i = 0; i < 20; i++)
        spawn_one(w, "0");
    return NULL;
}

static void test_from_thread(world *w) {
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, fork_in_thread, w));
    pthread_join(thread, NULL);
    check_all(w);
}

static void test_signals(world *w) {
    static const int signals[] = {SIGKILL, SIGTERM, SIGALRM};
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (!pid)
            for (;;)
                pause();
        CHECK(pid > 0);
        kill(pid, signals[i]);
        life *l = expect(w, pid, getpid(), wait_for(pid), 0);
        CHECK(l->status == signals[i]);
    }
    check_all(w);
}

static void test_double_fork(world *w) {
    for (int i = 0; i < 20; i++) {
        int ends[2];
        CHECK(!pipe(ends));
        pid_t pid = fork();
        if (!pid) {
            pid_t grandchild = fork();
            if (!grandchild)
                _exit(4);
            waitpid(grandchild, NULL, 0);
            ssize_t n = write(ends[1], &grandchild, sizeof grandchild);
            _exit(n == sizeof grandchild ? 5 : 99);
        }
        expect(w, pid, getpid(), 5 << 8, 0);
        pid_t grandchild;
        CHECK(read(ends[0], &grandchild, sizeof grandchild) ==
              sizeof grandchild);
        expect(w, grandchild, pid, 4 << 8, 0);
        close(ends[0]);
        close(ends[1]);
        CHECK(wait_for(pid) == 5 << 8);
    }
    check_all(w);
}

static void move_to(size_t cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(!sched_setaffinity(0, sizeof one, &one));
}

/* Processes are forked on one processor and end on another. */
static void test_two_processors(world *w) {
    cpu_set_t allowed;
    CHECK(!sched_getaffinity(0, sizeof allowed, &allowed));
    size_t first = CPU_SETSIZE, last = 0;
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &allowed)) {
            first = i < first ? i : first;
            last = i;
        }
    for (int i = 0; i < 100; i++) {
        size_t here = i % 2 ? first : last, there = i % 2 ? last : first;
        move_to(here);
        pid_t pid = fork();
        if (!pid) {
            move_to(there);
            _exit(i);
        }
        expect(w, pid, getpid(), wait_for(pid), 0);
    }
    check_all(w);
}

/* Events are drained while they happen: they are in order from one drain() to
   the next as well. */
static void *fork_families(void *arg) {
    for (int i = 0; i < 150; i++) {
        pid_t pid = fork();
        if (!pid) {
            pid_t inner = fork();
            if (!inner)
                _exit(0);
            waitpid(inner, NULL, 0);
            _exit(0);
        }
        CHECK(pid > 0 && wait_for(pid) == 0);
    }
    atomic_store((atomic_int *)arg, 1);
    return NULL;
}

static void test_meanwhile(world *w) {
    atomic_int done = 0;
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, fork_families, &done));
    while (!atomic_load(&done))
        drain(w);
    pthread_join(thread, NULL);
    /* Expect our children, and the children of those. */
    drain(w);
    for (size_t i = 0; i < w->list.count; i++) {
        const mw_event *event = &w->list.items[i];
        int parent_known = event->ppid == getpid();
        for (size_t j = 0; !parent_known && j < w->count; j++)
            parent_known = w->lives[j].pid == event->ppid;
        if (event->kind == MW_EVENT_FORK && parent_known)
            expect(w, event->pid, event->ppid, 0, 0);
    }
    CHECK(w->count == 300);
    check_all(w);
}

/* -- Threads -------------------------------------------------------------- */

enum { THREADS = 8 };

typedef struct {
    pthread_barrier_t met;
    int32_t tids[THREADS + 1];
} team;

typedef struct {
    team *team;
    int index;
} member;

static void *be_a_member(void *arg) {
    member *m = arg;
    m->team->tids[m->index] = (int32_t)syscall(SYS_gettid);
    pthread_barrier_wait(&m->team->met);
    return NULL;
}

static void run_team(team *t) {
    pthread_t threads[THREADS];
    member members[THREADS];
    t->tids[THREADS] = (int32_t)getpid();
    pthread_barrier_init(&t->met, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        members[i] = (member){t, i};
        CHECK(!pthread_create(&threads[i], NULL, be_a_member, &members[i]));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void test_threads(world *w) {
    team *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pid_t pid = fork();
    if (!pid) {
        run_team(shared);
        _exit(6);
    }
    life *l = expect(w, pid, getpid(), wait_for(pid), 0);
    CHECK(l->status == 6 << 8);
    drain_all(w);
    for (int i = 0; i <= THREADS; i++) {
        int32_t tid = shared->tids[i];
        CHECK(tid > 0 && (tid == pid) == (i == THREADS));
        if (!is_record(w)) {
            /* A thread has no event. */
            for (size_t j = 0; j < w->list.count; j++)
                CHECK(w->list.items[j].pid != tid || tid == pid);
            continue;
        }
        const mw_event *event = record_of(w, tid);
        CHECK(event->pid == pid && event->ppid == getpid());
        CHECK(event->valid & MW_HAS_STATUS);
    }
    check_all(w);
    munmap(shared, sizeof *shared);
}

static int is_readable(int fd, int timeout) {
    struct pollfd at = {.fd = fd, .events = POLLIN};
    return poll(&at, 1, timeout) == 1 && at.revents & POLLIN;
}

static void *end_at_once(void *nothing) { return nothing; }

/* The kernel drops events of threads before they take room: this reads the
   socket instead of the feed. */
static void test_filter(world *w) {
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, end_at_once, NULL));
        pthread_join(thread, NULL);
    }
    fork_one(w, 0);
    for (int seen = 0; seen < 2;) {
        struct {
            struct nlmsghdr header;
            char message[sizeof(struct cn_msg) + sizeof(struct proc_event)];
        } got;
        struct proc_event event;
        CHECK(is_readable(w->feed->event_fd, 10000));
        CHECK(recv(w->feed->event_fd, &got, sizeof got, 0) >=
              (ssize_t)sizeof got);
        memcpy(&event, got.message + sizeof(struct cn_msg), sizeof event);
        int32_t pid = 0;
        if (event.what == PROC_EVENT_FORK) {
            pid = event.event_data.fork.child_pid;
            CHECK(pid == event.event_data.fork.child_tgid);
        } else if (event.what == PROC_EVENT_EXIT) {
            pid = event.event_data.exit.process_pid;
            CHECK(pid == event.event_data.exit.process_tgid);
        } else {
            CHECK(event.what == PROC_EVENT_EXEC ||
                  event.what == PROC_EVENT_NONE);
        }
        seen += pid == w->lives[0].pid;
    }
}

static void *outlive(void *ends) {
    char byte;
    CHECK(read(((int *)ends)[0], &byte, 1) == 0);
    _exit(8);
}

/* The first thread ends before the process: the exit is reported then, and only
   then. */
static void test_leader_first(world *w) {
    int ends[2], ready[2];
    CHECK(!pipe(ends) && !pipe(ready));
    pid_t pid = fork();
    if (!pid) {
        pthread_t thread;
        close(ends[1]);
        CHECK(!pthread_create(&thread, NULL, outlive, ends));
        CHECK(write(ready[1], "", 1) == 1);
        syscall(SYS_exit, 0); /* this thread only */
    }
    life *l = expect(w, pid, getpid(), 0, 0);
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    drain_all(w); /* the event is there while the process lives on */
    CHECK(!waitpid(pid, NULL, WNOHANG));
    close(ends[1]);
    CHECK(wait_for(pid) == 8 << 8);
    check_all(w);
    CHECK(l->exits == 1);
    close(ends[0]);
    close(ready[0]);
    close(ready[1]);
}

static void *execute(void *arg) {
    world *w = arg;
    execl(w->program, w->program, "exit", "9", (char *)NULL);
    _exit(99);
}

/* Another thread than the first executes something: it becomes the first, whose
   end is reported before. */
static void test_thread_execs(world *w) {
    pid_t pid = fork();
    if (!pid) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, execute, w));
        for (;;)
            pause();
    }
    life *l = expect(w, pid, getpid(), wait_for(pid), 1);
    CHECK(l->status == 9 << 8);
    l->exits = 2;
    drain(w);
    while (count_events(w, pid, MW_EVENT_EXIT) < 2) {
        CHECK(mw_now() < w->begin + PATIENCE);
        drain(w);
    }
    check_all(w);
    int last = 0;
    for (size_t i = 0; i < w->list.count; i++)
        if (w->list.items[i].pid == pid)
            last = last * 10 + (int)w->list.items[i].kind;
    CHECK(last == 1323);
}

/* -- Descriptors ---------------------------------------------------------- */

static int lowest_free_fd(void) {
    int fd = dup(STDERR_FILENO);
    CHECK(fd >= 0);
    close(fd);
    return fd;
}

static int open_feed(uint32_t source, mw_feed **out) {
    return source == MW_CONNECTOR ? mw_connector_open(out)
           : source == MW_PERF    ? mw_perf_open(out)
                                  : mw_taskstats_open(out);
}

/* No descriptor stays open, and none is inherited by a program. */
static void test_reopen(world *w) {
    int before = lowest_free_fd();
    for (int i = 0; i < 40; i++) {
        mw_feed *feed;
        CHECK(!open_feed(w->source, &feed));
        for (int fd = before; fcntl(fd, F_GETFD) >= 0; fd++)
            CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        CHECK(!feed->drain(feed, &w->list));
        feed->close(feed);
        CHECK(lowest_free_fd() == before);
    }
    CHECK(!mw_probe(w->source));
    CHECK(lowest_free_fd() == before);
    mw_event_list_clear(&w->list);
    fork_one(w, 0);
    check_all(w);
}

static void test_wakeups(world *w) {
    if (is_record(w)) {
        CHECK(w->feed->event_fd == -1 && w->feed->exec_fd == -1);
        return;
    }
    for (int i = 0; i < 20; i++) {
        fork_one(w, 0);
        CHECK(is_readable(w->feed->event_fd, 10000));
        drain_all(w);
        spawn_one(w, "0");
        CHECK(is_readable(w->feed->exec_fd, 10000));
        drain_all(w);
    }
    /* The feed becomes silent again, unless other processes are busy just
       now. */
    while (is_readable(w->feed->event_fd, 0) ||
           is_readable(w->feed->exec_fd, 0)) {
        CHECK(mw_now() < w->begin + PATIENCE);
        drain(w);
    }
    check_all(w);
}

/* -- Losses --------------------------------------------------------------- */

/* More events happen than there is room for while none are read. The losses are
   counted, and later events are reported again. */
static void test_losses(world *w, int socket) {
    int least = 0, room = 1 << 20;
    CHECK(!setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &least, sizeof least));
    for (int i = 0; i < 300; i++)
        fork_one(w, 0);
    drain(w);
    uint32_t kind = is_record(w) ? MW_EVENT_RECORD : MW_EVENT_FORK;
    size_t received = 0;
    for (size_t i = 0; i < w->count; i++)
        received += count_events(w, w->lives[i].pid, kind);
    CHECK(received < 300);
    CHECK(w->feed->lost > 0);
    uint32_t counts[9];
    socklen_t length = sizeof counts;
#ifdef SO_MEMINFO
    if (!getsockopt(socket, SOL_SOCKET, SO_MEMINFO, counts, &length))
        CHECK(w->feed->lost >= 300 - received); /* all are counted */
#else
    (void)counts, (void)length;
#endif
    CHECK(!setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room));
    drain(w);
    w->lost = w->feed->lost;
    w->count = 0;
    mw_event_list_clear(&w->list);
    for (int i = 0; i < 20; i++)
        fork_one(w, i);
    check_all(w);
}

/* All happens on one processor, until its ring is full. */
static void test_full_ring(world *w) {
    move_to((size_t)sched_getcpu());
    for (int i = 0; i < 2000; i++)
        fork_one(w, 0);
    drain(w);
    /* The next record that finds room says how many did not. */
    fork_one(w, 0);
    drain(w);
    uint64_t received = 0;
    for (size_t i = 0; i < w->list.count; i++)
        received += w->list.items[i].kind == MW_EVENT_FORK ||
                    w->list.items[i].kind == MW_EVENT_EXIT;
    CHECK(w->feed->lost > 0);
    /* A ring that was found full counts as one more: it may have lost something
       that the kernel has had no room to report. */
    CHECK(received + w->feed->lost >= 2 * 2001);
    w->lost = w->feed->lost;
    w->count = 0;
    mw_event_list_clear(&w->list);
    for (int i = 0; i < 20; i++)
        fork_one(w, i);
    check_all(w);
}

/* -- What only a record has ----------------------------------------------- */

/* What a child reads of itself right before it ends. */
typedef struct {
    uint64_t peak;
    uint64_t read_bytes;
    uint64_t written_bytes;
} account;

/* Reads a number of a file of /proc/self, without allocating. */
static uint64_t number_of(const char *path, const char *key) {
    char text[4096];
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    CHECK(n > 0);
    text[n] = '\0';
    close(fd);
    const char *at = strstr(text, key);
    CHECK(at);
    return strtoull(at + strlen(key), NULL, 10);
}

static void write_a_file(size_t size) {
    char name[] = "feeds-XXXXXX";
    char *block = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = mkstemp(name);
    CHECK(fd >= 0 && block != MAP_FAILED);
    unlink(name);
    CHECK(write(fd, block, size) == (ssize_t)size);
    fsync(fd);
    close(fd);
    munmap(block, size);
}

/* Touches `size` bytes and frees them, so that later memory is no new peak. */
static void use_memory(size_t size) {
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    for (size_t i = 0; i < size; i += 1024)
        memory[i] = 1;
    munmap(memory, size);
}

static void test_account(world *w) {
    static const size_t sizes[] = {64 << 20, 5 << 20, 17 << 20};
    account *own = mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(own != MAP_FAILED);
    for (int i = 0; i < 3; i++) {
        int64_t before = mw_now();
        pid_t pid = fork();
        if (!pid) {
            write_a_file(sizes[i] / 16);
            use_memory(sizes[i]);
            own->peak = number_of("/proc/self/status", "VmHWM:") * 1024;
            if (!access("/proc/self/io", R_OK)) {
                own->read_bytes = number_of("/proc/self/io", "read_bytes:");
                own->written_bytes =
                    number_of("/proc/self/io", "\nwrite_bytes:");
            }
            _exit(0);
        }
        CHECK(pid > 0);
        int status;
        struct rusage used;
        CHECK(wait4(pid, &status, 0, &used) == pid && !status);
        drain(w);
        const mw_event *event = record_of(w, pid);
        CHECK(own->peak >= sizes[i]);
        CHECK(event->valid & MW_HAS_WATERMARK && event->peak == own->peak);
        if (event->valid & MW_HAS_IO)
            CHECK(event->read_bytes == own->read_bytes / 1024 * 1024 &&
                  event->written_bytes == own->written_bytes / 1024 * 1024);
        CHECK(event->elapsed <= mw_now() - before);
        /* CPU time is counted in clock ticks, so it may differ by one or
           two. */
        int64_t cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                      used.ru_utime.tv_usec + used.ru_stime.tv_usec;
        int64_t recorded = (event->user + event->system) / 1000;
        CHECK(recorded <= cpu * 2 + 50000);
    }
    munmap(own, sizeof *own);
}

/* -- Main ----------------------------------------------------------------- */

typedef struct {
    const char *name;
    void (*run)(world *);
    uint32_t sources;
} feed_case;

enum { EVENTS = MW_CONNECTOR | MW_PERF, ALL = EVENTS | MW_TASKSTATS };

static int next_fd; /* the feed's first descriptor */

static void test_socket_losses(world *w) { test_losses(w, next_fd); }

static const feed_case CASES[] = {
    {"storm", test_storm, ALL},
    {"execs", test_execs, ALL},
    {"from-thread", test_from_thread, ALL},
    {"signals", test_signals, ALL},
    {"double-fork", test_double_fork, ALL},
    {"two-processors", test_two_processors, ALL},
    {"meanwhile", test_meanwhile, EVENTS},
    {"threads", test_threads, ALL},
    {"filter", test_filter, MW_CONNECTOR},
    {"leader-first", test_leader_first, EVENTS},
    {"thread-execs", test_thread_execs, EVENTS},
    {"reopen", test_reopen, ALL},
    {"wakeups", test_wakeups, ALL},
    {"losses", test_socket_losses, MW_CONNECTOR | MW_TASKSTATS},
    {"full-ring", test_full_ring, MW_PERF},
    {"account", test_account, MW_TASKSTATS},
};

static uint32_t source_named(const char *name) {
    return !strcmp(name, "connector")   ? MW_CONNECTOR
           : !strcmp(name, "perf")      ? MW_PERF
           : !strcmp(name, "taskstats") ? MW_TASKSTATS
                                        : 0;
}

static void run_case(const char *name, world *w) {
    const feed_case *found = FIND_CASE(CASES, name);
    CHECK(found->sources & w->source);
    next_fd = lowest_free_fd();
    int error = open_feed(w->source, &w->feed);
    if (error) {
        CHECK(!w->feed && lowest_free_fd() == next_fd);
        printf("SKIP %s\n", strerror(-error));
        return;
    }
    w->begin = mw_now();
    found->run(w);
    w->feed->close(w->feed);
    mw_event_list_free(&w->list);
    CHECK(lowest_free_fd() == next_fd);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    /* Children execute this program with these arguments. */
    if (!strcmp(argv[1], "exit"))
        _exit(atoi(argv[2]));
    if (!strcmp(argv[1], "exec-again")) {
        char left[16];
        snprintf(left, sizeof left, "%d", atoi(argv[2]) - 1);
        if (atoi(argv[2]) == 0)
            _exit(7);
        execl(argv[0], argv[0], "exec-again", left, (char *)NULL);
        _exit(99);
    }
    static world w;
    w.program = argv[0];
    w.source = source_named(argv[1]);
    CHECK(w.source);
    CHECK(mw_probe(0) == -EINVAL && mw_probe(EVENTS) == -EINVAL);
    if (!strcmp(argv[2], "probe"))
        printf("%d\n", mw_probe(w.source));
    else
        run_case(argv[2], &w);
    return 0;
}
