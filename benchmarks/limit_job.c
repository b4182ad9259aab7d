/*
 * Runs a job that exceeds a limit.
 *
 *   grow MIB FILE N    has N idle children, and grows by a MiB per millisecond.
 *                      On SIGTERM it writes two times to FILE: when it first
 *                      held more than MIB, and when the signal came, in
 *                      nanoseconds of CLOCK_BOOTTIME.
 *   stubborn MIB       holds MIB once it has children that ignore SIGTERM, have
 *                      sessions of their own, fork when SIGTERM comes, fork all
 *                      the time, and move from fork to fork.
 *   rush HOW FILE MIB  ignores SIGTERM, and grows by a GiB per second to MIB:
 *                      in one process, in four ("forks"), as a daemon
 *                      ("daemon"), in the child of a process that does not
 *                      ignore SIGTERM ("child"), or in a file in /dev/shm,
 *                      which it removes at once ("shm"). FILE has the bytes
 *                      that were touched so far, as 8 bytes that all processes
 *                      add to.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const size_t MIB = 1 << 20;
static const char *file;
static volatile int64_t crossed;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void sleep_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000,
                            .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void wait_long(void) {
    for (int i = 0; i < 60; i++)
        sleep_ms(1000);
    _exit(0);
}

static int64_t resident(void) {
    char text[256];
    int fd = open("/proc/self/statm", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *end;
    strtoll(text, &end, 10);
    return strtoll(end, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static void hold(size_t mib) {
    char *at = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(at, 1, mib * MIB);
}

static void on_term(int number) {
    (void)number;
    char text[64];
    int n = snprintf(text, sizeof text, "%lld %lld\n", (long long)crossed,
                     (long long)now());
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(fd, text, (size_t)n) != n)
        _exit(1);
    _exit(0);
}

static void grow(size_t limit, int children) {
    for (int i = 0; i < children; i++)
        if (!fork())
            wait_long();
    signal(SIGTERM, on_term);
    for (size_t held = 0; held < 4 * limit; held++) {
        hold(1);
        if (!crossed && resident() > (int64_t)(limit * MIB))
            crossed = now();
        sleep_ms(1);
    }
    wait_long();
}

static void on_term_fork(int number) {
    (void)number;
    if (!fork())
        wait_long();
}

static void stubborn(size_t mib) {
    signal(SIGTERM, SIG_IGN);
    for (int i = 0; i < 3; i++)
        if (!fork()) {
            if (i == 1)
                setsid();
            if (i == 2) {
                setsid();
                if (fork())
                    _exit(0); /* a daemon */
            }
            wait_long();
        }
    if (!fork()) {
        signal(SIGTERM, on_term_fork);
        wait_long();
    }
    if (!fork()) {
        setsid();
        for (int64_t end = now() + 60000000000; now() < end;)
            if (fork())
                _exit(0);
    }
    if (!fork())
        for (int64_t end = now() + 60000000000; now() < end; sleep_ms(5)) {
            if (!fork()) {
                sleep_ms(50);
                _exit(0);
            }
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        }
    sleep_ms(100);
    hold(mib);
    wait_long();
}

/* Creates a file in /dev/shm, which nobody else can find. */
static int open_stored(void) {
    char path[] = "/dev/shm/limit_job.XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || unlink(path))
        _exit(1);
    return fd;
}

static void store(int fd) {
    static char data[1 << 20];
    if (write(fd, data, MIB) != (ssize_t)MIB)
        _exit(1);
}

/* Touches a MiB per `every` ns, in the file `fd` if it is not -1. A MiB that
   comes late is made up for. */
static void touch_on(volatile uint64_t *account, size_t mib, int64_t every,
                     int fd) {
    int64_t due = now();
    for (size_t held = 0; held < mib; held++, due += every) {
        if (fd < 0)
            hold(1);
        else
            store(fd);
        __atomic_add_fetch(account, MIB, __ATOMIC_RELAXED);
        int64_t left = due + every - now();
        struct timespec time = {.tv_nsec = left};
        if (left > 0)
            nanosleep(&time, NULL);
    }
}

static void rush(const char *how, size_t mib) {
    enum { PROCESSES = 4 };
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (ftruncate(fd, sizeof(uint64_t)))
        _exit(1);
    uint64_t *account =
        mmap(NULL, sizeof *account, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!strcmp(how, "child") && fork())
        wait_long();
    signal(SIGTERM, SIG_IGN);
    if (!strcmp(how, "daemon") && !fork()) {
        setsid();
        if (fork())
            _exit(0);
        touch_on(account, mib, 1000000000 / 1024, -1);
        wait_long();
    }
    for (int i = 0; !strcmp(how, "forks") && i < PROCESSES; i++)
        if (!fork()) {
            touch_on(account, mib / PROCESSES, 1000000000 / 1024 * PROCESSES,
                     -1);
            wait_long();
        }
    if (!strcmp(how, "one") || !strcmp(how, "child"))
        touch_on(account, mib, 1000000000 / 1024, -1);
    if (!strcmp(how, "shm"))
        touch_on(account, mib, 1000000000 / 1024, open_stored());
    wait_long();
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    size_t mib = (size_t)atol(argv[2]);
    if (!strcmp(argv[1], "grow") && argc > 4) {
        file = argv[3];
        grow(mib, atoi(argv[4]));
    } else if (!strcmp(argv[1], "rush") && argc > 4) {
        file = argv[3];
        rush(argv[2], (size_t)atol(argv[4]));
    } else {
        stubborn(mib);
    }
    return 0;
}
