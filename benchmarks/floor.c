/*
 * Does the least that a sampler can do, as a measure for memwatch:
 *
 *     floor INTERVAL_NS SECONDS ROOT_PID
 *
 * Finds the processes below ROOT_PID once, then at every tick wakes at an
 * absolute deadline and reads `statm` and `children` of each through kept
 * descriptors, and adds up the resident sizes. It keeps nothing, finds no new
 * process and reports nothing. It shares no code with memwatch.
 *
 * Prints the number of ticks and the CPU time of the loop alone, as JSON.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;

static int *statm_fds, *children_fds;
static int count, capacity;

static int64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static int open_file(int pid, const char *format) {
    char path[64];
    snprintf(path, sizeof path, format, pid, pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Opens the files of `pid` and of all below it. */
static void follow(int pid) {
    int statm = open_file(pid, "/proc/%d/statm");
    int children = open_file(pid, "/proc/%d/task/%d/children");
    if (statm < 0 || children < 0) {
        perror("floor: open");
        exit(1);
    }
    if (count == capacity) {
        capacity = capacity ? capacity * 2 : 64;
        size_t size = (size_t)capacity * sizeof(int);
        statm_fds = realloc(statm_fds, size);
        children_fds = realloc(children_fds, size);
        if (!statm_fds || !children_fds)
            exit(1);
    }
    statm_fds[count] = statm;
    children_fds[count++] = children;

    FILE *list = fdopen(dup(children), "r");
    int child;
    while (list && fscanf(list, "%d", &child) == 1)
        follow(child);
    if (list)
        fclose(list);
}

static uint64_t resident_pages(const char *text) {
    while (*text > ' ')
        text++;
    uint64_t value = 0;
    for (text++; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

static uint64_t tick(void) {
    char text[4096 + 1];
    uint64_t pages = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = pread(statm_fds[i], text, sizeof text - 1, 0);
        if (n > 0) {
            text[n] = '\0';
            pages += resident_pages(text);
        }
        /* The kernel gives at most a page of the list at a time. */
        off_t at = 0;
        do {
            n = pread(children_fds[i], text, sizeof text - 1, at);
            at += n > 0 ? n : 0;
        } while (n > 4000);
    }
    return pages;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: floor INTERVAL_NS SECONDS ROOT_PID\n");
        return 2;
    }
    int64_t interval = atoll(argv[1]);
    int64_t length = (int64_t)(atof(argv[2]) * 1e9);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    follow(atoi(argv[3]));
    prctl(PR_SET_TIMERSLACK, 1ul);

    uint64_t pages = tick();
    uint64_t ticks = 0;
    int64_t start = clock_ns(CLOCK_MONOTONIC), deadline = start + interval;
    int64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (;;) {
        struct timespec until = {.tv_sec = deadline / SECOND,
                                 .tv_nsec = deadline % SECOND};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
            ;
        pages = tick();
        ticks++;
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now - start >= length)
            break;
        deadline += interval;
        if (now >= deadline) /* passed meanwhile: cannot be served */
            deadline += ((now - deadline) / interval + 1) * interval;
    }
    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    printf("{\"processes\": %d, \"ticks\": %llu, \"cpu_ns\": %lld, "
           "\"resident_pages\": %llu}\n",
           count, (unsigned long long)ticks, (long long)cpu,
           (unsigned long long)pages);
    return 0;
}
