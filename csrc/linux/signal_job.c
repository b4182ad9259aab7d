/*
 * Signals to the whole job. The job is walked down the lists of children, from
 * the adopter, which gets all orphans: a process can leave its group, its
 * session and its parent, but not these lists. A process that is not in them
 * gets no signal: a pidfd keeps its pid from being reused while its parent is
 * checked.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "grow.h"
#include "pidfd.h"
#include "procfs.h"
#include "scan.h"
#include "state.h"

/* How often the adopter's children are listed in one call, 5 us each time. */
enum { ORPHAN_LISTINGS = 2000 };

/* A process that gets another parent during a walk may be missed by it. So the
   job is walked until this many walks in a row have found no new process; a job
   that forks on for so many walks is left to SIGKILL. */
enum { QUIET_WALKS = 2, MOST_WALKS = 50 };

/* A process that got the signal. */
typedef struct {
    int32_t pid;
    uint64_t start_ticks; /* tells it from another that has its pid later */
} mw_receiver;

/* The walks of one call. */
typedef struct {
    int number; /* of the signal */
    int reap;
    int reaped;
    size_t fresh; /* processes that got the signal in this walk */
    mw_pids *found;
    mw_receiver *receivers;
    size_t receiver_count;
    size_t receiver_capacity;
    /* Processes that are still to be visited, each with its parent. */
    mw_pids pids;
    mw_pids parents;
    /* All processes of the machine, on kernels without lists of children
       (CONFIG_PROC_CHILDREN); NULL on others. */
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

static int push_children(const mw_platform *p, walk *w, int32_t parent) {
    mw_pids children = {0};
    int error = 0;
    if (!w->all)
        error = mw_procfs_children_of_all(p->proc_fd, parent, &children);
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
        mw_pidfd_send_signal(fd, w->number);
    else
        kill(pid, w->number);
}

/* Returns whether it is too late for a signal to be the cause of the end. */
static int is_ending(const mw_stat *stat) {
    return stat->flags & PF_EXITING && stat->threads == 1;
}

/* Notes that a process is about to get the signal: 1, 0 if it has had it, or
   -ENOMEM. */
static int note_receiver(walk *w, const mw_stat *stat) {
    for (size_t i = 0; i < w->receiver_count; i++)
        if (w->receivers[i].pid == stat->pid &&
            w->receivers[i].start_ticks == stat->start_ticks)
            return 0;
    void *receivers = w->receivers;
    int error = mw_grow(&receivers, &w->receiver_capacity,
                        w->receiver_count + 1, sizeof *w->receivers, 64);
    w->receivers = receivers;
    if (error)
        return error;
    w->receivers[w->receiver_count++] =
        (mw_receiver){stat->pid, stat->start_ticks};
    w->fresh++;
    return 1;
}

static int visit_living(const mw_platform *p, walk *w, int32_t pid, int fd,
                        const mw_stat *stat) {
    /* Its children are listed first, because the signal may end it and they
       are the adopter's then. A kill comes before that: the process may be
       about to fork and end, as kill_orphans() describes. */
    if (w->number == SIGKILL)
        send(w, pid, fd);
    int error = push_children(p, w, pid);
    if (w->number && w->number != SIGKILL) {
        if (error || is_ending(stat))
            return error;
        int is_new = note_receiver(w, stat);
        if (is_new < 0)
            return is_new;
        if (is_new)
            send(w, pid, fd);
    }
    return error || mw_pids_have(w->found, pid) ? error
                                                : mw_pids_add(w->found, pid);
}

/* Signals a process if its parent is still `parent`, or the adopter by now. */
static int visit(const mw_platform *p, walk *w, int32_t pid, int32_t parent) {
    char path[MW_PATH];
    mw_stat stat;
    int error = 0;
    int fd = mw_pidfd_open(pid);
    snprintf(path, sizeof path, "%d/stat", pid);
    int is_ours = !mw_procfs_stat(p->proc_fd, path, &stat) &&
                  (stat.ppid == parent || stat.ppid == p->adopter_pid);
    if (is_ours && is_living(&stat))
        error = visit_living(p, w, pid, fd, &stat);
    else if (is_ours && w->reap && pid != p->root_pid)
        /* Zombies would pile up, and each walk over them take longer. */
        w->reaped += waitpid(pid, NULL, WNOHANG) == pid;
    if (fd >= 0)
        close(fd);
    return error;
}

/*
 * Kills orphans as fast as they appear. A process that forks, ends, and leaves
 * it to its child to do the same is gone before a walk has reached it; a kill
 * that comes before a fork ends the chain. The adopter's own children need no
 * check of their parent: their pids are theirs until this process reaps them.
 */
static int kill_orphans(const mw_platform *p, walk *w) {
    mw_pids children = {0};
    int error = 0, is_left = p->adopter_children_fd >= 0;
    for (int i = 0; !error && is_left && i < ORPHAN_LISTINGS; i++) {
        children.count = 0;
        is_left = 0;
        error = mw_procfs_children(p->adopter_children_fd, &children);
        for (size_t j = 0; !error && j < children.count; j++) {
            int32_t pid = children.pid[j];
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

/* Walks the whole job once. */
static int walk_job(const mw_platform *p, walk *w) {
    int error = 0;
    w->fresh = 0;
    if (p->adopter_children_fd < 0)
        error =
            mw_scan_all(p->proc_fd, &w->all, &w->all_capacity, &w->all_count);
    if (!error)
        error = push_children(p, w, p->adopter_pid);
    while (!error && w->pids.count) {
        int32_t pid = w->pids.pid[--w->pids.count];
        int32_t parent = w->parents.pid[--w->parents.count];
        error = visit(p, w, pid, parent);
    }
    return error;
}

int mw_platform_signal_job(const mw_platform *p, int number, int reap,
                           mw_pids *found) {
    if (!p->real || !p->adopter_pid || p->has_other_children)
        return -ENOTSUP;
    walk w = {.number = number, .reap = reap, .found = found};
    int error = 0;
    if (number == SIGKILL && reap)
        error = kill_orphans(p, &w);
    /* SIGKILL may come twice, and nothing is sent with 0: the caller lists the
       job again anyway. */
    int is_once = !number || number == SIGKILL;
    int quiet = 0;
    for (int i = 0; !error && quiet < QUIET_WALKS && i < MOST_WALKS; i++) {
        error = walk_job(p, &w);
        quiet = w.fresh ? 0 : quiet + 1;
        if (is_once)
            break;
    }
    free(w.receivers);
    free(w.pids.pid);
    free(w.parents.pid);
    free(w.all);
    return error ? error : w.reaped;
}
