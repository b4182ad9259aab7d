/*
 * Runs a job that writes down when it ended:
 *
 *     stamp_exit SECONDS FILE
 *
 * Sleeps, writes CLOCK_MONOTONIC to FILE and exits at once.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: stamp_exit SECONDS FILE\n");
        return 2;
    }
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return 1;
    usleep((useconds_t)(atof(argv[1]) * 1e6));
    char text[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(text, sizeof text, "%lld.%09ld\n",
                          (long long)now.tv_sec, now.tv_nsec);
    _exit(write(fd, text, (size_t)length) != length);
}
