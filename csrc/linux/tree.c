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

/* One pass over the job. */
typedef struct {
    int number; /* of the signal */
    int reap;
    int reaped;
    mw_pids *found;
    /* Processes that are still to be looked at, each with its parent. */
    mw_pids pids;
    mw_pids parents;
} walk;

static int push(walk *w, int32_t pid, int32_t parent) {
    int error = mw_pids_add(&w->pids, pid);
    return error ? error : mw_pids_add(&w->parents, parent);
}

static int is_living(const mw_stat *stat) {
    int has_ended = stat->state == 'Z' || stat->state == 'X';
    return !has_ended || stat->threads > 1; /* only its first thread has */
}

static int is_ours(const mw_platform *p, const mw_stat *stat, int32_t parent) {
    return stat->ppid == parent || stat->ppid == p->adopter_pid;
}

/* Signals a process that `parent` or the adopter has. */
static int strike(const mw_platform *p, walk *w, int32_t pid, int32_t parent) {
    char path[MW_PATH], text[MW_FILE_TEXT];
    mw_stat stat;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof path, "%d/stat", pid);
    ssize_t n = mw_procfs_read(p->proc_fd, path, text, sizeof text);
    int is_there = n > 0 && !mw_parse_stat(text, (size_t)n, &stat) &&
                   is_ours(p, &stat, parent);
    int lives = is_there && is_living(&stat);
    if (lives && w->number) {
        if (fd >= 0)
            syscall(SYS_pidfd_send_signal, fd, w->number, NULL, 0);
        else
            kill(pid, w->number);
    }
    if (fd >= 0)
        close(fd);
    /* Else they pile up, and to walk over them takes ever longer. */
    if (is_there && !lives && w->reap && pid != p->root_pid)
        w->reaped += waitpid(pid, NULL, WNOHANG) == pid;
    return lives ? mw_pids_add(w->found, pid) : 0;
}

/* Adds the children of all threads of a process. */
static int push_children(const mw_platform *p, walk *w, int32_t parent) {
    char path[MW_PATH];
    snprintf(path, sizeof path, "%d/task", parent);
    DIR *dir = mw_procfs_opendir(p->proc_fd, path);
    mw_pids children = {0};
    int error = 0;
    for (struct dirent *entry; dir && !error && (entry = readdir(dir));) {
        int32_t tid = mw_parse_pid(entry->d_name);
        snprintf(path, sizeof path, "%d/task/%d/children", parent, tid);
        int fd = tid ? openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        error = mw_procfs_children(fd, &children);
        close(fd);
    }
    if (dir)
        closedir(dir);
    for (size_t i = 0; !error && i < children.count; i++)
        if (parent != p->adopter_pid || !mw_is_other_child(p, children.pid[i]))
            error = push(w, children.pid[i], parent);
    free(children.pid);
    return error;
}

static int signal_listed(const mw_platform *p, walk *w) {
    int error = push_children(p, w, p->adopter_pid);
    while (!error && w->pids.count) {
        int32_t pid = w->pids.pid[--w->pids.count];
        int32_t parent = w->parents.pid[--w->parents.count];
        /* Its children first: when it ends of the signal they are the
           adopter's. But what is to be killed may be about to pass itself on.
         */
        if (w->number == SIGKILL)
            error = strike(p, w, pid, parent);
        if (!error)
            error = push_children(p, w, pid);
        if (!error && w->number != SIGKILL)
            error = strike(p, w, pid, parent);
    }
    return error;
}

/* Every process of the machine. The caller frees *out. */
static int scan(const mw_platform *p, mw_process **out, size_t *count) {
    size_t capacity = 1024;
    int error;
    do {
        *out = malloc(capacity * sizeof **out);
        if (!*out)
            return -ENOMEM;
        error = mw_procfs_scan(p->proc_fd, *out, capacity, count);
        if (error)
            free(*out);
        capacity = *count + *count / 4;
    } while (error == -ENOBUFS);
    return error;
}

/* For kernels without lists of children (CONFIG_PROC_CHILDREN). */
static int signal_scanned(const mw_platform *p, walk *w) {
    mw_process *all;
    size_t count;
    int error = scan(p, &all, &count);
    if (error)
        return error;
    error = push(w, p->adopter_pid, 0);
    while (!error && w->pids.count) {
        int32_t pid = w->pids.pid[--w->pids.count];
        int32_t parent = w->parents.pid[--w->parents.count];
        for (size_t i = 0; !error && i < count; i++)
            if (all[i].ppid == pid &&
                (pid != p->adopter_pid || !mw_is_other_child(p, all[i].pid)))
                error = push(w, all[i].pid, pid);
        if (!error && parent)
            error = strike(p, w, pid, parent);
    }
    free(all);
    return error;
}

int mw_platform_signal(const mw_platform *p, int number, int reap,
                       mw_pids *found) {
    if (!p->real || !p->adopter_pid || p->has_other_children)
        return -ENOTSUP;
    walk w = {.number = number, .reap = reap, .found = found};
    int error = p->adopter_children_fd >= 0 ? signal_listed(p, &w)
                                            : signal_scanned(p, &w);
    free(w.pids.pid);
    free(w.parents.pid);
    return error ? error : w.reaped;
}
