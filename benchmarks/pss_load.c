/*
 * Runs a process of known size that changes its memory map on request:
 *
 *     pss_load MIB CHUNK_KIB
 *
 * Touches MIB in pages of the smallest size and writes "ready". For each number
 * of seconds on stdin it maps, touches and unmaps CHUNK_KIB again and again for
 * that time, and writes how often, and how many ns the slowest time took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void *touch(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        exit(1);
    madvise(memory, size, MADV_NOHUGEPAGE);
    memset(memory, 1, size);
    return memory;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    size_t held = (size_t)atol(argv[1]) << 20;
    size_t chunk = (size_t)atol(argv[2]) << 10;
    if (held)
        touch(held);
    puts("ready");
    fflush(stdout);
    for (double seconds; scanf("%lf", &seconds) == 1;) {
        double time = now(), end = time + seconds * 1e9, slowest = 0;
        long times = 0;
        while (time < end) {
            munmap(touch(chunk), chunk);
            double after = now();
            if (after - time > slowest)
                slowest = after - time;
            time = after;
            times++;
        }
        printf("%ld %.0f\n", times, slowest);
        fflush(stdout);
    }
    return 0;
}
