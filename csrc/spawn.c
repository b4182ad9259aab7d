/* The start of a command. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform.h"
#include "thread.h"

/* Becomes the command, in the child, by calls that are safe after fork() in a
   threaded process. Returns the errno if it cannot. */
static int become(const mw_spawn_options *options, char *const argv[],
                  char *const envp[]) {
    /* The new stdout may be the old stderr, and the other way round. */
    int new_stderr = options->stderr_fd;
    if (new_stderr == 1 && options->stdout_fd >= 0) {
        new_stderr = fcntl(1, F_DUPFD_CLOEXEC, 3);
        if (new_stderr < 0)
            return errno;
    }
    if (options->stdout_fd >= 0 && dup2(options->stdout_fd, 1) < 0)
        return errno;
    if (new_stderr >= 0 && dup2(new_stderr, 2) < 0)
        return errno;
    if (options->nofile_soft) {
        struct rlimit limit;
        if (!getrlimit(RLIMIT_NOFILE, &limit)) {
            limit.rlim_cur = (rlim_t)options->nofile_soft;
            setrlimit(RLIMIT_NOFILE, &limit);
        }
    }
    for (int number = 1; number <= 64; number++)
        if (options->default_signals >> (number - 1) & 1)
            signal(number, SIG_DFL);
    sigset_t blocked;
    mw_to_signal_set(options->blocked_signals, &blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    mw_platform_set_environment(envp);
    if (options->hook)
        mw_hook_install(options->hook);
    execvp(argv[0], argv);
    return errno;
}

int mw_spawn(const mw_spawn_options *options, char *const argv[],
             char *const envp[], int32_t *pid) {
    /* The writing end is closed by the child's execve, once the command
       runs. */
    int ends[2];
    if (pipe(ends))
        return -errno;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);

    pid_t child = fork();
    if (child == 0) {
        int error = become(options, argv, envp);
        while (write(ends[1], &error, sizeof error) < 0 && errno == EINTR)
            ;
        _exit(127);
    }
    int error = child < 0 ? errno : 0;
    close(ends[1]);
    if (!error) {
        ssize_t n;
        while ((n = read(ends[0], &error, sizeof error)) < 0 && errno == EINTR)
            ;
        if (n == 0)
            error = 0;
        else
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
    }
    close(ends[0]);
    *pid = (int32_t)child;
    return -error;
}
