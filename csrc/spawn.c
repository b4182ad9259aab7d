/* The start of a command. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform.h"
#include "thread.h"

/* Makes the child a member of a control group: 0 or -errno. */
static int join_group(const char *file) {
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* 0 is the process that writes. */
    int error = write(fd, "0", 1) == 1 ? 0 : -errno;
    close(fd);
    return error;
}

/* Sends the parent an errno: a positive one ends the start of the command, a
   negative one says why the child is not in its control group. */
static void report(int pipe_end, int error) {
    while (write(pipe_end, &error, sizeof error) < 0 && errno == EINTR)
        ;
}

/* Becomes the command, in the child, by calls that are safe after fork() in a
   threaded process. Returns the errno if it cannot. */
static int become(const mw_spawn_options *options, char *const argv[],
                  char *const envp[], int pipe_end) {
    /* First, so that all that follows is charged to the group. */
    if (options->group_file) {
        int error = join_group(options->group_file);
        if (error)
            report(pipe_end, error);
    }
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

/* Reads what the child reports until it executes the command or ends. Returns
   0, or the errno that says why the command could not be executed. */
static int read_reports(int pipe_end, int32_t *group_error) {
    int error = 0;
    for (;;) {
        int received;
        ssize_t n = read(pipe_end, &received, sizeof received);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != sizeof received)
            return n < 0 ? errno : error;
        if (received > 0)
            error = received;
        else if (group_error)
            *group_error = received;
    }
}

int mw_spawn(const mw_spawn_options *options, char *const argv[],
             char *const envp[], int32_t *pid) {
    if (options->group_error)
        *options->group_error = 0;
    /* The writing end is closed by the child's execve, once the command
       runs. */
    int ends[2];
    if (pipe(ends))
        return -errno;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);

    pid_t child = fork();
    if (child == 0) {
        report(ends[1], become(options, argv, envp, ends[1]));
        _exit(127);
    }
    int error = child < 0 ? errno : 0;
    close(ends[1]);
    if (!error) {
        error = read_reports(ends[0], options->group_error);
        if (error)
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
    }
    close(ends[0]);
    *pid = (int32_t)child;
    return -error;
}
