/*
 * Signals to the whole job. It is walked down the lists of children, from the
 * adopter, to which all orphans go: a process can leave its group, its session
 * and its parent, but not those. No process is struck that is not in them: a
 * pidfd holds on to it while its parent is looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parse.h"
#include "procfs.h"

/* The same numbers on every architecture: Linux 5.3 and 5.1. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* How often the adopter's children are listed in one pass, 5 us each time. */
enum { ORPHAN_ROUNDS = 2000 };

/* One pass over the job. */
typedef struct {
    int number; /* of the signal */
    int reap;
    int reaped;
    mw_pids *found;
    /* Processes that are still to be looked at, each with its parent. */
    mw_pids pids;
    mw_pids parents;
    /* All of the machine, for kernels without lists of children
       (CONFIG_PROC_CHILDREN); else NULL. */
    mw_process *all;
    size_t all_count;
    size_t all_capacity;
} walk;

static int push(const mw_platform *p, walk *w, int32_t pid, int32_t parent) {
    if (parent == p->adopter_pid && mw_is_other_child(p, pid))
        return 0;
    int error = mw_pids_add(&w->pids, pid);
    return error ? error : mw_pids_add(&w->parents, parent);
}

/* The children of all threads of a process. */
static int list_children(const mw_platform *p, int32_t parent,
                         mw_pids *children) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/task", parent);
    DIR *dir = mw_procfs_opendir(p->proc_fd, path);
    int error = 0;
    for (struct dirent *entry; dir && !error && (entry = readdir(dir));) {
        int32_t tid = mw_parse_pid(entry->d_name);
        snprintf(path, sizeof path, "%d/task/%d/children", parent, tid);
        int fd = tid ? openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        error = mw_procfs_children(fd, children);
        close(fd);
    }
    if (dir)
        closedir(dir);
    return error;
}

static int push_children(const mw_platform *p, walk *w, int32_t parent) {
    mw_pids children = {0};
    int error = 0;
    if (!w->all)
        error = list_children(p, parent, &children);
    for (size_t i = 0; !error && i < children.count; i++)
        error = push(p, w, children.pid[i], parent);
    for (size_t i = 0; !error && i < w->all_count; i++)
        if (w->all[i].ppid == parent)
            error = push(p, w, w->all[i].pid, parent);
    free(children.pid);
    return error;
}

static int is_living(const mw_stat *stat) {
    int has_ended = stat->state == 'Z' || stat->state == 'X';
    return !has_ended || stat->threads > 1; /* only its first thread has */
}

static void send(const walk *w, int32_t pid, int fd) {
    if (fd >= 0)
        syscall(SYS_pidfd_send_signal, fd, w->number, NULL, 0);
    else
        kill(pid, w->number);
}

/* Whether a signal can no longer be what ends it. */
static int is_ending(const mw_stat *stat) {
    return stat->flags & PF_EXITING && stat->threads == 1;
}

static int visit_living(const mw_platform *p, walk *w, int32_t pid, int fd,
                        const mw_stat *stat) {
    /* Its children first: when it ends of the signal they are the adopter's.
       But what is to be killed may be about to pass itself on. */
    if (w->number == SIGKILL)
        send(w, pid, fd);
    int error = push_children(p, w, pid);
    if (w->number && w->number != SIGKILL) {
        if (is_ending(stat))
            return error;
        send(w, pid, fd);
    }
    return error || mw_pids_have(w->found, pid) ? error
                                                : mw_pids_add(w->found, pid);
}

/* Signals a process that `parent` or the adopter has. */
static int visit(const mw_platform *p, walk *w, int32_t pid, int32_t parent) {
    char path[MW_PATH], text[MW_FILE_TEXT];
    mw_stat stat;
    int error = 0;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof path, "%d/stat", pid);
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    int is_ours = n > 0 && !mw_parse_stat(text, (size_t)n, &stat) &&
                  (stat.ppid == parent || stat.ppid == p->adopter_pid);
    if (is_ours && is_living(&stat))
        error = visit_living(p, w, pid, fd, &stat);
    else if (is_ours && w->reap && pid != p->root_pid)
        /* Else they pile up, and to walk over them takes ever longer. */
        w->reaped += waitpid(pid, NULL, WNOHANG) == pid;
    if (fd >= 0)
        close(fd);
    return error;
}

/*
 * Kills orphans as fast as they come. A process that forks, ends, and leaves it
 * to its child to do the same is gone before a walk has come to it; one kill
 * in time, before a fork, and there is no next. The adopter's own children need
 * no second look: their pids are theirs until they are reaped, here.
 */
static int kill_orphans(const mw_platform *p, walk *w) {
    mw_pids children = {0};
    int error = 0, is_left = p->adopter_children_fd >= 0;
    for (int round = 0; !error && is_left && round < ORPHAN_ROUNDS; round++) {
        children.count = 0;
        is_left = 0;
        error = mw_procfs_children(p->adopter_children_fd, &children);
        for (size_t i = 0; !error && i < children.count; i++) {
            int32_t pid = children.pid[i];
            if (pid == p->root_pid || mw_is_other_child(p, pid))
                continue;
            is_left = 1;
            int status;
            kill(pid, SIGKILL);
            int has_ended = waitpid(pid, &status, WNOHANG) == pid;
            int was_killed = has_ended && WIFSIGNALED(status) &&
                             WTERMSIG(status) == SIGKILL; /* just now */
            w->reaped += has_ended;
            if ((!has_ended || was_killed) && !mw_pids_have(w->found, pid))
                error = mw_pids_add(w->found, pid);
        }
    }
    free(children.pid);
    return error;
}

int mw_platform_signal(const mw_platform *p, int number, int reap,
                       mw_pids *found) {
    if (!p->real || !p->adopter_pid || p->has_other_children)
        return -ENOTSUP;
    walk w = {.number = number, .reap = reap, .found = found};
    int error = 0;
    if (number == SIGKILL && reap)
        error = kill_orphans(p, &w);
    if (!error && p->adopter_children_fd < 0)
        error = mw_procfs_scan_all(p->proc_fd, &w.all, &w.all_capacity,
                                   &w.all_count);
    if (!error)
        error = push_children(p, &w, p->adopter_pid);
    while (!error && w.pids.count) {
        int32_t pid = w.pids.pid[--w.pids.count];
        int32_t parent = w.parents.pid[--w.parents.count];
        error = visit(p, &w, pid, parent);
    }
    free(w.pids.pid);
    free(w.parents.pid);
    free(w.all);
    return error ? error : w.reaped;
}
