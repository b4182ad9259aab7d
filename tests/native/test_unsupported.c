/*
 * A program with csrc/unsupported.c, the template for ports: all common files
 * link with it, and fail at once because there is no platform.
 */
#include <errno.h>
#include <sys/wait.h>

#include "check.h"
#include "memwatch.h"

extern char **environ;

int main(void) {
    CHECK(!strcmp(mw_backend(), "unsupported"));
    CHECK(*mw_build_date() && *mw_build_target());
    CHECK(mw_now() > 0 && mw_now() <= mw_now());

    mw_sampler_options options = {
        .proc_root = "/proc", .interval = 1, .batch = 1};
    mw_sampler *sampler = (mw_sampler *)&options;
    CHECK(mw_sampler_new(&options, &sampler) == -ENOTSUP && !sampler);
    mw_sampler_free(sampler);

    size_t count = 1;
    CHECK(mw_scan("/proc", NULL, 0, &count) == -ENOTSUP && !count);
    int previous = 1;
    CHECK(mw_subreaper(1, &previous) == -ENOTSUP && !previous);
    CHECK(mw_signals_open(1) == -ENOTSUP);
    mw_signal signal;
    CHECK(mw_signals_next(0, &signal) == -ENOTSUP);
    mw_usage usage;
    CHECK(mw_own_usage(&usage) == -ENOTSUP && !usage.valid);

    /* Starting a command is plain POSIX, and works. */
    char program[] = "true";
    char *argv[] = {program, NULL};
    mw_spawn_options how = {.stdout_fd = -1, .stderr_fd = -1};
    int32_t pid;
    int status;
    CHECK(!mw_spawn(&how, argv, environ, &pid));
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}
