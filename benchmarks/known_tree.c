/*
 * Runs a job with a known number of processes and a known memory:
 *
 *     known_tree MIB SECONDS FILE
 *
 * Ten processes: a root, eight children, and a daemon that was forked twice and
 * called setsid(), so that its parent is gone and its session is its own (the
 * process between them makes eleven). Each of the ten touches MIB, the daemon
 * four times as much; then all hold it for SECONDS.
 *
 * Writes to FILE, as JSON, the number of processes, and the sum of the resident
 * sizes that each read of itself while all held their memory.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 8, HOLDERS = CHILDREN + 2, DAEMON_SHARE = 4 };

/* Shared by all of them. */
static struct {
    int holding;
    int daemon_ended;
    long pages[HOLDERS];
} *state;

static void nap(double seconds) {
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    nanosleep(&time, NULL);
}

static long own_pages(void) {
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    long pages = 0;
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
        sscanf(text, "%*s %ld", &pages);
    close(fd);
    return pages;
}

static void hold(int index, size_t mib, double seconds) {
    char *memory = malloc(mib << 20);
    if (!memory)
        _exit(1);
    memset(memory, 1, mib << 20);
    __atomic_add_fetch(&state->holding, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&state->holding, __ATOMIC_SEQ_CST) < HOLDERS)
        nap(0.001);
    /* The second time: the first brings in the code that reads it. Before the
       hold, so that what is held is what was counted. */
    own_pages();
    state->pages[index] = own_pages();
    nap(seconds);
    /* All hold still while any of them reads. */
    __atomic_add_fetch(&state->holding, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&state->holding, __ATOMIC_SEQ_CST) < 2 * HOLDERS)
        nap(0.001);
}

static void start_daemon(size_t mib, double seconds) {
    pid_t between = fork();
    if (between == 0) {
        if (fork() == 0) {
            setsid();
            hold(HOLDERS - 1, mib * DAEMON_SHARE, seconds);
            __atomic_store_n(&state->daemon_ended, 1, __ATOMIC_SEQ_CST);
        }
        _exit(0);
    }
    waitpid(between, NULL, 0);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: known_tree MIB SECONDS FILE\n");
        return 2;
    }
    size_t mib = (size_t)atol(argv[1]);
    double seconds = atof(argv[2]);
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (state == MAP_FAILED)
        return 1;
    start_daemon(mib, seconds);
    for (int i = 1; i <= CHILDREN; i++)
        if (fork() == 0) {
            hold(i, mib, seconds);
            _exit(0);
        }
    hold(0, mib, seconds);
    while (wait(NULL) > 0)
        ;
    while (!__atomic_load_n(&state->daemon_ended, __ATOMIC_SEQ_CST))
        nap(0.001);

    long pages = 0;
    for (int i = 0; i < HOLDERS; i++)
        pages += state->pages[i];
    FILE *out = fopen(argv[3], "w");
    if (!out)
        return 1;
    fprintf(out, "{\"processes\": %d, \"rss_kib\": %ld}\n", HOLDERS + 1,
            pages * (sysconf(_SC_PAGESIZE) / 1024));
    return fclose(out) != 0;
}
