/*
 * Runs a task with a known memory at each time: `plan_task MIB MS` grows to MIB
 * MiB within two thirds of MS milliseconds, holds that to the end, and exits 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { STEPS = 20, PAGE = 4096 };

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    size_t size = (size_t)atol(argv[1]) << 20;
    long ms = atol(argv[2]);
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return 1;
    madvise(at, size, MADV_NOHUGEPAGE);
    struct timespec start, until;
    clock_gettime(CLOCK_MONOTONIC, &start);
    size_t touched = 0;
    for (int step = 1; step <= STEPS + 1; step++) {
        size_t wanted = step > STEPS ? size : size / STEPS * (size_t)step;
        for (; touched < wanted; touched += PAGE)
            at[touched] = 1;
        long after = step > STEPS ? ms : ms * 2 / 3 * step / STEPS;
        long ns = start.tv_nsec + after % 1000 * 1000000;
        until.tv_sec = start.tv_sec + after / 1000 + ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
            ;
    }
    return 0;
}
