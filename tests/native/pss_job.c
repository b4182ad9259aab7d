/*
 * Processes that share memory in known ways, for test_pss_linux.c. Each writes
 * its pid to standard output once it is ready, the first process first, and
 * waits for the end of its standard input.
 *
 *     pss_job cow MIB COUNT     COUNT forked children read what this one wrote
 *     pss_job vfork MIB         a child of vfork that has not executed anything
 *     pss_job thread-vfork MIB  the same, started by a thread
 *     pss_job leader-ends MIB   the first thread ends, another goes on
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"

static void check(int ok) {
    if (!ok)
        _exit(99);
}

static void report_ready(void) {
    int32_t pid = getpid();
    check(write(1, &pid, sizeof pid) == sizeof pid);
}

static char *hold(size_t size) {
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED);
    memset(memory, 1, size);
    return memory;
}

static void fork_readers(const char *memory, size_t size, long count) {
    report_ready();
    for (long i = 0; i < count; i++) {
        pid_t pid = fork();
        check(pid >= 0);
        if (pid)
            continue;
        unsigned sum = 0;
        for (size_t at = 0; at < size; at += 4096)
            sum += (unsigned)((const volatile char *)memory)[at];
        check(sum == size / 4096);
        report_ready();
        wait_for_end_of_input();
        _exit(0);
    }
    wait_for_end_of_input();
    while (wait(NULL) > 0)
        ;
}

static void *vfork_and_hold(void *unused) {
    pid_t pid = vfork();
    if (pid == 0) {
        report_ready();
        wait_for_end_of_input();
        _exit(0);
    }
    check(pid > 0);
    return unused;
}

static void *stay(void *first) {
    check(!pthread_join(*(pthread_t *)first, NULL));
    report_ready();
    wait_for_end_of_input();
    _exit(0);
}

int main(int argc, char **argv) {
    check(argc >= 3);
    size_t size = (size_t)atol(argv[2]) << 20;
    const char *memory = hold(size);
    pthread_t thread;
    if (!strcmp(argv[1], "cow")) {
        check(argc == 4);
        fork_readers(memory, size, atol(argv[3]));
    } else if (!strcmp(argv[1], "vfork")) {
        report_ready();
        vfork_and_hold(NULL);
    } else if (!strcmp(argv[1], "thread-vfork")) {
        report_ready();
        check(!pthread_create(&thread, NULL, vfork_and_hold, NULL));
        check(!pthread_join(thread, NULL));
    } else if (!strcmp(argv[1], "leader-ends")) {
        static pthread_t first;
        first = pthread_self();
        check(!pthread_create(&thread, NULL, stay, &first));
        pthread_exit(NULL);
    } else {
        return 2;
    }
    return 0;
}
