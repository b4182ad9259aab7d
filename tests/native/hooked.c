/*
 * Jobs for test_hook.c. Each writes to its standard output one line for each
 * process whose end the hook must have recorded, with what must be recorded:
 *
 *     PID PPID STATUS PEAK
 *
 * STATUS is as wait(2) has it, PEAK is in bytes, or 0 if it is not known.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"

extern char **environ;

/* Writes a line without stdio, whose buffers a forked child would write
   again. */
static void report(pid_t pid, pid_t ppid, int status, unsigned long peak) {
    char line[128];
    int length =
        snprintf(line, sizeof line, "%d %d %d %lu\n", pid, ppid, status, peak);
    if (write(1, line, (size_t)length) != length)
        die("write");
}

static int wait_and_report(pid_t pid) {
    int status;
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
    report(pid, getpid(), status, 0);
    return status;
}

/* Starts this program again, in a new process. */
static pid_t spawn_self(const char *what, const char *argument) {
    char *argv[] = {(char *)(size_t)"/proc/self/exe", (char *)(size_t)what,
                    (char *)(size_t)argument, NULL};
    pid_t pid;
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ))
        die("posix_spawn");
    return pid;
}

static void exec_self(const char *what, const char *argument) {
    execl("/proc/self/exe", "hooked", what, argument, (char *)NULL);
    die("execl");
}

/* --- many --- */

enum { WIDTH = 8 };

static int storm(int total) {
    pid_t running[WIDTH] = {0};
    for (int i = 0; i < total + WIDTH; i++) {
        pid_t *slot = &running[i % WIDTH];
        if (*slot)
            wait_and_report(*slot);
        *slot = 0;
        if (i >= total)
            continue;
        *slot = start();
        if (*slot == 0)
            _exit(i % 251);
    }
    return 3;
}

static int spawn_storm(int total) {
    for (int i = 0; i < total; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i % 251);
        wait_and_report(spawn_self("exit", number));
    }
    return 4;
}

/* Tries, in a child of vfork, a program that is not there: the child exits
   while it shares our memory. */
static pid_t vfork_nothing(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/nonexistent/program", "program", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int vfork_storm(int total) {
    for (int i = 0; i < total; i++)
        wait_and_report(vfork_nothing());
    return 6;
}

/* --- memory --- */

static unsigned long own_peak(void) {
    static char text[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        die("status");
    close(fd);
    text[n] = '\0';
    char *at = strstr(text, "\nVmHWM:");
    return at ? strtoul(at + strlen("\nVmHWM:"), NULL, 10) * 1024 : 0;
}

/* Touches a number of MiB, frees them, and ends. */
static int peak(int mib) {
    size_t size = (size_t)mib << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    memset(memory, 1, size);
    munmap(memory, size);
    /* The memory that writing the line needs cannot raise the peak: the rest is
       freed. */
    report(getpid(), getppid(), 7 << 8, own_peak());
    return 7;
}

/* --- images --- */

static int chain(int left) {
    char number[16];
    if (!left)
        return 8;
    snprintf(number, sizeof number, "%d", left - 1);
    exec_self("chain", number);
    return 1;
}

static int long_command(int size) {
    char *argument = malloc((size_t)size + 1);
    if (!argument)
        die("malloc");
    memset(argument, 'x', (size_t)size);
    argument[size] = '\0';
    exec_self("nothing", argument);
    return 1;
}

static int many_long_commands(int total) {
    enum { SIZE = 100 << 10 };
    static char argument[SIZE + 1];
    memset(argument, 'y', SIZE);
    for (int i = 0; i < total; i++) {
        int status;
        pid_t pid = spawn_self("nothing", argument);
        if (waitpid(pid, &status, 0) != pid || status)
            die("nothing");
    }
    return 9;
}

/* --- threads --- */

static void *exit_from_thread(void *status) {
    exit((int)(size_t)status);
    return NULL;
}

static void *exec_from_thread(void *status) {
    exec_self("again", "11");
    return status;
}

static void *wait_then_exit(void *leader) {
    pthread_join(*(pthread_t *)leader, NULL);
    _exit(12);
    return NULL;
}

static _Noreturn void in_thread(void *(*what)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, what, argument))
        die("pthread_create");
    for (;;)
        pause();
}

static int threads(void) {
    static pthread_t leader;
    pid_t pids[3];
    for (int i = 0; i < 3; i++) {
        pids[i] = start();
        if (pids[i])
            continue;
        if (i == 0)
            in_thread(exit_from_thread, (void *)(size_t)10);
        if (i == 1)
            in_thread(exec_from_thread, NULL);
        leader = pthread_self();
        pthread_t thread;
        if (pthread_create(&thread, NULL, wait_then_exit, &leader))
            die("pthread_create");
        pthread_exit(NULL);
    }
    for (int i = 0; i < 3; i++)
        if (WEXITSTATUS(wait_and_report(pids[i])) != 10 + i)
            return 98;
    return 13;
}

/* --- filters of their own --- */

static long filter(unsigned long flags, unsigned action) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog loaded = {.len = 4, .filter = program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &loaded);
}

static int filters(void) {
    pid_t pid = start();
    if (pid == 0) {
        if (filter(0, SECCOMP_RET_ERRNO | EDOM))
            die("filter");
        _exit(syscall(SYS_getppid) == -1 && errno == EDOM ? 14 : 1);
    }
    if (WEXITSTATUS(wait_and_report(pid)) != 14)
        return 97;
    pid = start();
    if (pid == 0) {
        long fd =
            filter(SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_USER_NOTIF);
        _exit(fd < 0 && errno == EBUSY ? 15 : 1);
    }
    if (WEXITSTATUS(wait_and_report(pid)) != 15)
        return 96;
    return 16;
}

/* --- ends of other kinds --- */

static int killed(void) {
    int status;
    for (int i = 0; i < 20; i++) {
        pid_t pid = start();
        if (pid == 0) {
            kill(getpid(), SIGKILL);
            for (;;)
                pause();
        }
        waitpid(pid, &status, 0);
        if (!WIFSIGNALED(status))
            return 95;
    }
    pid_t pid = start();
    if (pid == 0)
        _exit(17);
    wait_and_report(pid);
    return 18;
}

/* Ends as a 32-bit program does, if the machine has those. */
#ifdef __x86_64__
static void exit_as_32_bit(long status) {
    __asm__ volatile("int $0x80" : : "a"(252l), "b"(status) : "memory");
}
#else
static void exit_as_32_bit(long status) { _exit((int)status); }
#endif

static int compatible(void) {
    int status;
    pid_t pid = start();
    if (pid == 0)
        exit_as_32_bit(25);
    waitpid(pid, &status, 0);
    /* Without IA-32 emulation it is killed. */
    if (!WIFSIGNALED(status))
        report(pid, getpid(), 25 << 8, 0);
    return 26;
}

/* Writes "r", waits for the end of the standard input, and then starts a
   storm. */
static int later(int total) {
    if (write(1, "r", 1) != 1)
        die("write");
    wait_for_end_of_input();
    for (int i = 0; i < total; i++) {
        int status;
        pid_t pid = i % 2 ? start() : spawn_self("exit", "19");
        if (pid == 0)
            _exit(19);
        if (waitpid(pid, &status, 0) != pid || status != 19 << 8)
            return 94;
    }
    if (write(1, "d", 1) != 1)
        die("write");
    return 20;
}

/* Leaves a process that stays until the end of the standard input, in a session
   of its own. */
static int leave(void) {
    pid_t pid = start();
    if (pid == 0) {
        setsid();
        wait_for_end_of_input();
        _exit(21);
    }
    return 22;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    if (!strcmp(what, "exit"))
        return number;
    if (!strcmp(what, "nothing"))
        return 0;
    if (!strcmp(what, "again"))
        exec_self("exit", argv[2]);
    if (!strcmp(what, "storm"))
        return storm(number);
    if (!strcmp(what, "spawn-storm"))
        return spawn_storm(number);
    if (!strcmp(what, "vfork-storm"))
        return vfork_storm(number);
    if (!strcmp(what, "peak"))
        return peak(number);
    if (!strcmp(what, "chain"))
        return chain(number);
    if (!strcmp(what, "long-command"))
        return long_command(number);
    if (!strcmp(what, "many-long-commands"))
        return many_long_commands(number);
    if (!strcmp(what, "threads"))
        return threads();
    if (!strcmp(what, "filters"))
        return filters();
    if (!strcmp(what, "killed"))
        return killed();
    if (!strcmp(what, "compatible"))
        return compatible();
    if (!strcmp(what, "later"))
        return later(number);
    if (!strcmp(what, "leave"))
        return leave();
    fprintf(stderr, "hooked: unknown: %s\n", what);
    return 2;
}
