/*
 * Processes that map and unmap one shared memory again and again, so that a
 * sum over processes that are read one after the other counts it several times.
 *
 *     churn PROCESSES MIB MILLISECONDS
 *
 * The job never holds more than MIB of shared memory and PRIVATE MIB in each
 * process, beside the program itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PRIVATE = 4 };

static const size_t MIB = 1 << 20;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static char *map(size_t bytes, int flags, int fd) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

static long long now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static void sleep_ms(long ms) {
    struct timespec time = {.tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

static void churn(int fd, size_t bytes, unsigned seed, long long until) {
    memset(map(PRIVATE * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1), 1,
           PRIVATE * MIB);
    volatile char sink;
    while (now_ms() < until) {
        char *memory = map(bytes, MAP_SHARED, fd);
        for (size_t at = 0; at < bytes; at += 4096)
            sink = memory[at];
        sleep_ms(rand_r(&seed) % 30);
        munmap(memory, bytes);
        sleep_ms(rand_r(&seed) % 60);
    }
    (void)sink;
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    size_t bytes = (size_t)atol(argv[2]) * MIB;
    long long until = now_ms() + atol(argv[3]);
    int fd = memfd_create("churn", 0);
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        fail("memfd_create");
    char *memory = map(bytes, MAP_SHARED, fd);
    memset(memory, 1, bytes);
    munmap(memory, bytes);
    for (unsigned i = 0; i < (unsigned)atoi(argv[1]); i++)
        if (!fork())
            churn(fd, bytes, i + 1, until);
    while (wait(NULL) > 0)
        ;
    return 0;
}
