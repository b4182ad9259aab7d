/*
 * Many processes that live for less than a millisecond, and the truth about
 * each of them, written down by themselves in the file $STORM_RECORDS.
 *
 *   storm KIND COUNT [hold]   COUNT processes below this one, at most eight at
 *                             a time. hold: in the middle, wait for the end of
 *                             file on standard input
 *   storm flood               processes that write nothing down, until the end
 *                             of file on standard input
 *
 *   fork        forked, and gone
 *   threads     the same, from eight threads
 *   grow        forked, uses up to 4 MiB and gives them back
 *   exec        forked, then executes this program as a leaf
 *   vfork       the same by vfork
 *   spawn       the same by posix_spawn
 *   reexec      executes this program twice, each with memory of its own
 *   daemon      forked by a process that ends first
 *   killed      every other one is killed by a signal
 *   unannounced ends its only thread: no exit_group
 *   crowd       has threads: the first one exits, another does, or the first
 *               has ended before
 *   filtered    with a seccomp filter of its own
 *   mixed       one after the other of these
 *
 * A process notes its own high-water mark and does nothing after that but end
 * or execute: no page is touched that was not touched before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
    AT_ONCE = 8,
    HEADER = 4096,
    TROUBLE = 99, /* exit code of a storm that does not work as it should */
    GOES_ON = -1, /* status of an image that executes another */
    REAPED = -1,  /* image of a record by the parent: the status it got */
    PATIENCE_S = 150
};

/* tests/support/storms.py reads these. */
struct header {
    _Atomic uint32_t used; /* records begun */
    _Atomic uint32_t held; /* 1: it waits for the end of file */
    _Atomic uint32_t made; /* processes of a flood */
};

struct record {
    uint32_t done;      /* 1: complete */
    uint32_t announced; /* it ends by exit_group */
    int32_t pid;
    int32_t ppid;  /* the one that forked it */
    int32_t image; /* how often it had executed */
    int32_t status;
    uint64_t peak;    /* KiB; 0: not known */
    uint64_t touched; /* KiB that it used for sure */
    int64_t forked;   /* nanoseconds since boot, a moment before */
    int64_t begun;
    int64_t ended; /* a moment before */
    char words[64];
};

_Static_assert(sizeof(struct record) == 128, "support/storms.py knows it so");

static struct header *header;
static struct record *records;
static char own_path[4096];
static _Thread_local int64_t forked_at;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static _Noreturn void trouble(const char *what) {
    perror(what);
    syscall(SYS_exit_group, TROUBLE);
    __builtin_unreachable();
}

static void open_records(size_t capacity) {
    const char *path = getenv("STORM_RECORDS");
    if (!path)
        trouble("STORM_RECORDS");
    int flags = capacity ? O_RDWR | O_CREAT | O_TRUNC : O_RDWR;
    int file = open(path, flags | O_CLOEXEC, 0666);
    if (file < 0)
        trouble(path);
    size_t size = HEADER + capacity * sizeof(struct record);
    if (!capacity)
        size = (size_t)lseek(file, 0, SEEK_END);
    else if (ftruncate(file, (off_t)size))
        trouble("ftruncate");
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED)
        trouble("mmap");
    close(file);
    header = (struct header *)at;
    records = (struct record *)(at + HEADER);
}

static struct record *new_record(int32_t pid, int32_t ppid, int image) {
    uint32_t slot = atomic_fetch_add(&header->used, 1);
    struct record *record = &records[slot];
    record->pid = pid;
    record->ppid = ppid;
    record->image = image;
    record->announced = 1;
    record->forked = forked_at;
    record->begun = now();
    return record;
}

/* Of the thread's process: /proc/self has no memory when the first thread has
   ended. */
static uint64_t high_water(void) {
    static char text[8192];
    int file = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (length < 0)
        return 0;
    close(file);
    text[length] = 0;
    const char *at = strstr(text, "\nVmHWM:");
    uint64_t kib = 0;
    if (at)
        for (at += 7; *at != '\n'; at++)
            if (*at >= '0' && *at <= '9')
                kib = kib * 10 + (uint64_t)(*at - '0');
    return kib;
}

static void finish(struct record *record, int status) {
    record->status = status;
    record->ended = now();
    /* The first call touches what the second needs. */
    record->peak = high_water();
    syscall(SYS_getpid);
    record->peak = high_water();
    atomic_thread_fence(memory_order_release);
    record->done = 1;
}

static _Noreturn void leave(struct record *record, int code) {
    finish(record, code << 8);
    syscall(SYS_exit_group, code);
    __builtin_unreachable();
}

/* Uses memory, and gives it back. */
static void touch(struct record *record, size_t kib) {
    size_t size = kib * 1024;
    if (!size)
        return;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        trouble("mmap");
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    munmap(memory, size);
    record->touched = kib;
}

/* Not random: the same in every run; up to 4 MiB. */
static size_t size_of(unsigned number) {
    return number * 2654435761u % 1025 * 4;
}

static int code_of(unsigned number) { return (int)(number % 5 ? 0 : 7); }

/* -- What a process does ------------------------------------------------- */

static _Noreturn void execute(struct record *record, const char *what,
                              unsigned number, int image) {
    char digits[2][16];
    snprintf(digits[0], sizeof digits[0], "%u", number);
    snprintf(digits[1], sizeof digits[1], "%d", image);
    char *argv[] = {"storm", (char *)what, digits[0], digits[1], NULL};
    finish(record, GOES_ON);
    syscall(SYS_execve, own_path, argv, environ);
    trouble("execve");
}

static void be_leaf(struct record *record, unsigned number) {
    leave(record, code_of(number));
}

static void be_reexecuting(struct record *record, unsigned number, int image) {
    if (image)
        touch(record, size_of(number * 2 + (unsigned)image) / 4);
    if (image == 2)
        leave(record, code_of(number));
    execute(record, "again", number, image + 1);
}

static void be_killed(struct record *record, unsigned number) {
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1};
    int deadly = signals[number / 2 % 3];
    touch(record, size_of(number));
    if (number % 2)
        leave(record, code_of(number));
    signal(deadly, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    record->announced = 0;
    finish(record, deadly);
    kill(record->pid, deadly);
    trouble("kill");
}

static void be_unannounced(struct record *record, unsigned number) {
    record->announced = 0;
    finish(record, code_of(number) << 8);
    syscall(SYS_exit, code_of(number));
}

struct crowd {
    struct record *record;
    unsigned number;
};

static void *idle(void *unused) {
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

static void read_state(pid_t pid, char *state) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    *state = 0;
    if (length > 0) {
        text[length] = 0;
        char *after = strrchr(text, ')');
        *state = after ? after[2] : 0;
    }
}

/* Until it is a zombie, or no more. */
static void await_end(pid_t pid) {
    int64_t deadline = now() + PATIENCE_S * INT64_C(1000000000);
    char state;
    for (read_state(pid, &state); state && !strchr("ZX", state);
         read_state(pid, &state)) {
        if (now() > deadline)
            trouble("a process does not end");
        sched_yield();
    }
}

static void *exit_from_here(void *argument) {
    struct crowd *crowd = argument;
    if (crowd->number % 3 == 2)
        await_end(crowd->record->pid); /* the first thread */
    leave(crowd->record, code_of(crowd->number));
}

static void be_crowd(struct record *record, unsigned number) {
    static struct crowd crowd;
    pthread_t thread;
    crowd = (struct crowd){record, number};
    memcpy(record->words, "crowd", sizeof "crowd");
    if (pthread_create(&thread, NULL, idle, NULL))
        trouble("pthread_create");
    if (number % 3 == 0)
        leave(record, code_of(number));
    if (pthread_create(&thread, NULL, exit_from_here, &crowd))
        trouble("pthread_create");
    if (number % 3 == 1)
        idle(NULL);
    syscall(SYS_exit, 0); /* of this thread only */
}

static void be_filtered(struct record *record, unsigned number) {
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        trouble("seccomp");
    leave(record, code_of(number));
}

/* -- How it comes to be --------------------------------------------------- */

enum kind {
    FORK,
    GROW,
    EXEC,
    VFORK,
    SPAWN,
    REEXEC,
    DAEMON,
    KILLED,
    UNANNOUNCED,
    CROWD,
    FILTERED,
    KINDS, /* all of these, in turn, are MIXED */
    MIXED = KINDS,
    THREADS
};

static const char *const names[] = {
    "fork",   "grow",        "exec",  "vfork",    "spawn", "reexec", "daemon",
    "killed", "unannounced", "crowd", "filtered", "mixed", "threads"};

static void be(enum kind kind, struct record *record, unsigned number) {
    switch (kind) {
    case GROW: touch(record, size_of(number)); break;
    case EXEC: execute(record, "leaf", number, 1);
    case REEXEC: be_reexecuting(record, number, 0); break;
    case KILLED: be_killed(record, number); break;
    case UNANNOUNCED: be_unannounced(record, number); break;
    case CROWD: be_crowd(record, number); break;
    case FILTERED: be_filtered(record, number); break;
    default: break;
    }
    leave(record, code_of(number));
}

/* Who shares memory with its parent cannot tell a peak of its own. */
static pid_t start_sharing(enum kind kind, unsigned number) {
    char digits[16];
    snprintf(digits, sizeof digits, "%u", number);
    char *argv[] = {"storm", "leaf", digits, "1", NULL};
    pid_t pid;
    if (kind == VFORK) {
        pid = vfork();
        if (!pid) {
            execv(own_path, argv);
            _exit(TROUBLE);
        }
    } else if (posix_spawn(&pid, own_path, NULL, NULL, argv, environ)) {
        pid = -1;
    }
    if (pid < 0)
        trouble("vfork");
    struct record *record = new_record(pid, getpid(), 0);
    record->status = GOES_ON;
    record->done = 1;
    return pid;
}

/* Two processes: one that ends at once, and one that outlives it. */
static pid_t start_daemon(unsigned number) {
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC))
        trouble("pipe");
    pid_t pid = fork();
    if (pid < 0)
        trouble("fork");
    if (!pid) {
        struct record *record = new_record(getpid(), getppid(), 0);
        forked_at = now();
        pid_t grandchild = fork();
        if (grandchild < 0)
            trouble("fork");
        if (grandchild) {
            if (write(pipes[1], &grandchild, sizeof grandchild) < 0)
                trouble("write");
            leave(record, 0);
        }
        struct record *own = new_record(getpid(), record->pid, 0);
        int64_t deadline = now() + PATIENCE_S * INT64_C(1000000000);
        while (getppid() == record->pid) {
            if (now() > deadline)
                trouble("no orphan");
            sched_yield();
        }
        leave(own, code_of(number));
    }
    close(pipes[1]);
    pid_t grandchild = 0;
    char end;
    if (read(pipes[0], &grandchild, sizeof grandchild) != sizeof grandchild ||
        read(pipes[0], &end, 1))
        trouble("read");
    close(pipes[0]);
    await_end(grandchild);
    return pid;
}

static pid_t start(enum kind kind, unsigned number) {
    forked_at = now();
    if (kind == VFORK || kind == SPAWN)
        return start_sharing(kind, number);
    if (kind == DAEMON)
        return start_daemon(number);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        trouble("fork");
    if (!pid)
        be(kind, new_record(getpid(), parent, 0), number);
    return pid;
}

/* `pid` as waitpid(2) has it. */
static void reap(pid_t pid) {
    int status;
    pid = waitpid(pid, &status, 0);
    if (pid < 0)
        trouble("waitpid");
    struct record *record = new_record(pid, getpid(), REAPED);
    record->status = status;
    record->ended = record->begun;
    record->done = 1;
    if (status == TROUBLE << 8)
        trouble("a process of the storm failed");
}

static void hold(void) {
    char byte;
    atomic_store(&header->held, 1);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

static void run(enum kind kind, unsigned count, int holds) {
    unsigned alive = 0;
    for (unsigned number = 0, made = 0; made < count; number++) {
        enum kind chosen = kind == MIXED ? number % KINDS : kind;
        if (chosen == DAEMON && count - made < 2)
            chosen = FORK;
        if (alive == AT_ONCE) {
            reap(-1);
            alive--;
        }
        start(chosen, number);
        alive++;
        made += chosen == DAEMON ? 2 : 1;
        if (holds && made >= count / 2) {
            hold();
            holds = 0;
        }
    }
    while (alive--)
        reap(-1);
}

struct share {
    pthread_t thread;
    unsigned first, count;
};

static void *run_share(void *argument) {
    const struct share *share = argument;
    for (unsigned i = 0; i < share->count; i++)
        reap(start(FORK, share->first + i));
    return NULL;
}

static void run_threads(unsigned count) {
    struct share shares[AT_ONCE];
    unsigned first = 0;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        unsigned part = (count - first) / (AT_ONCE - i);
        shares[i] = (struct share){.first = first, .count = part};
        first += part;
        if (pthread_create(&shares[i].thread, NULL, run_share, &shares[i]))
            trouble("pthread_create");
    }
    for (unsigned i = 0; i < AT_ONCE; i++)
        pthread_join(shares[i].thread, NULL);
}

static void flash(void) {
    pid_t pid = vfork();
    if (!pid)
        _exit(0);
    if (waitpid(pid, NULL, 0) != pid)
        trouble("waitpid");
    atomic_fetch_add(&header->made, 1);
}

static _Noreturn void flood(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    open_records(1);
    while (!poll(&input, 1, 0)) {
        for (int i = 0; i < 100; i++)
            flash();
    }
    leave(new_record(getpid(), getppid(), 1), 7);
}

static void write_words(struct record *record, char **argv) {
    size_t room = sizeof record->words;
    for (char *at = record->words; *argv; argv++) {
        int length = snprintf(at, room, "%s ", *argv);
        if (length < 0 || (size_t)length >= room)
            break;
        at += length;
        room -= (size_t)length;
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "flood"))
        flood();
    if (argc < 3)
        return TROUBLE;
    /* Not by that name: it would be "exe" to the kernel. */
    if (readlink("/proc/self/exe", own_path, sizeof own_path - 1) < 0)
        trouble("readlink");
    unsigned number = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc == 4 && (!strcmp(argv[1], "leaf") || !strcmp(argv[1], "again"))) {
        int image = atoi(argv[3]);
        open_records(0);
        struct record *record = new_record(getpid(), getppid(), image);
        write_words(record, argv);
        if (*argv[1] == 'l')
            be_leaf(record, number);
        be_reexecuting(record, number, image);
    }
    enum kind kind = 0;
    while (kind <= THREADS && strcmp(names[kind], argv[1]))
        kind++;
    if (kind > THREADS)
        return TROUBLE;
    /* A fork and its parent's word of its end; three images at most. */
    open_records((size_t)number * 5 + 16);
    struct record *record = new_record(getpid(), getppid(), 1);
    write_words(record, argv);
    if (kind == THREADS)
        run_threads(number);
    else
        run(kind, number, argc == 4 && !strcmp(argv[3], "hold"));
    leave(record, 7);
}
