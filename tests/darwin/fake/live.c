/*
 * The table from /proc: the real processes of this machine. Resident size and
 * start are Linux's; the footprint is anonymous memory and swap, and its peak
 * is the high-water mark without file and shared memory.
 *
 * A zombie keeps neither on Linux, but does on macOS: the last values are kept.
 * Linux does not report forks and execs here: they are noticed when a process
 * is read.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <unistd.h>

#include "machine.h"

enum { MOST_TEXT = 1 << 17 };

/* Returns a value of `status` in bytes; 0 if it is not there. */
static uint64_t kib(const char *status, const char *key) {
    const char *at = strstr(status, key);
    return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

static ssize_t read_file(int32_t pid, const char *name, char *text,
                         size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t length = 0;
    ssize_t n;
    while (length + 1 < room &&
           (n = read(fd, text + length, room - 1 - length)) > 0)
        length += (size_t)n;
    close(fd);
    text[length] = '\0';
    return (ssize_t)length;
}

typedef struct {
    char comm[17];
    char state;
    int32_t ppid, pgid, sid;
    unsigned flags;
    long long user, system, start;
    unsigned long long faults_of_children; /* those it has waited for */
    unsigned long long code, stack;        /* no code in the middle of execve */
    int status;
} stat_line;

static int parse_stat(const char *text, stat_line *out) {
    const char *open = strchr(text, '('), *shut = strrchr(text, ')');
    if (!open || !shut)
        return -1;
    size_t length = (size_t)(shut - open - 1);
    length = length < sizeof out->comm ? length : sizeof out->comm - 1;
    memset(out, 0, sizeof *out);
    memcpy(out->comm, open + 1, length);
    const char *at = shut + 2;
    int got = sscanf(at,
                     "%c %d %d %d %*d %*d %u %*u %llu %*u %*u %lld %lld %*d "
                     "%*d %*d %*d %*d %*d %lld %*u %*d %*u %llu %*u %llu",
                     &out->state, &out->ppid, &out->pgid, &out->sid,
                     &out->flags, &out->faults_of_children, &out->user,
                     &out->system, &out->start, &out->code, &out->stack);
    const char *last = strrchr(text, ' ');
    out->status = last ? atoi(last) : 0;
    return got == 11 ? 0 : -1;
}

static void note_arguments(process *p) {
    static char text[MOST_TEXT];
    static const char *argv[MOST_TEXT / 2];
    static size_t lengths[MOST_TEXT / 2];
    char link[64], path[sizeof p->path];
    snprintf(link, sizeof link, "/proc/%d/exe", p->pid);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return; /* a kernel thread, or another user's process */
    path[n] = '\0';
    snprintf(link, sizeof link, "/proc/%d/cwd", p->pid);
    n = readlink(link, p->cwd, sizeof p->cwd - 1);
    p->cwd[n < 0 ? 0 : n] = '\0';
    ssize_t length = read_file(p->pid, "cmdline", text, sizeof text);
    if (length <= 0)
        return;
    size_t argc = 0;
    for (char *at = text; at < text + length; at += lengths[argc++] + 1) {
        argv[argc] = at;
        lengths[argc] = strnlen(at, (size_t)(text + length - at));
    }
    set_arguments(p, path, argc, argv, lengths);
}

static void note_memory(process *p) {
    static char status[8192];
    if (read_file(p->pid, "status", status, sizeof status) < 0)
        return;
    const char *uid = strstr(status, "\nUid:");
    int effective;
    if (uid && sscanf(uid, "\nUid: %*d %d", &effective) == 1)
        p->uid = (uint32_t)effective;
    if (!strstr(status, "VmRSS:"))
        return;
    p->rss = kib(status, "VmRSS:");
    p->footprint = kib(status, "RssAnon:") + kib(status, "VmSwap:");
    uint64_t peak = kib(status, "VmHWM:");
    uint64_t others = kib(status, "RssFile:") + kib(status, "RssShmem:");
    peak = peak > others ? peak - others : 0;
    peak = peak > p->footprint ? peak : p->footprint;
    if (peak > p->footprint_max)
        p->footprint_max = peak;
}

/* Reports a fork if the list of children has changed. */
static void note_children(process *p) {
    static char text[1 << 16];
    char path[64];
    snprintf(path, sizeof path, "task/%d/children", p->pid);
    if (read_file(p->pid, path, text, sizeof text) < 0)
        return;
    uint64_t sum = 0;
    for (char *at = text, *end; *at; at = end + (*end == ' '))
        sum = sum * 31 + strtoull(at, &end, 10);
    if (sum && sum != p->children)
        post(p, NOTE_FORK, 0);
    p->children = sum;
}

static void note_image(process *p, const stat_line *s, int is_new) {
    enum { FORKNOEXEC = 0x40 };
    uint64_t image_id = s->stack * 2 + !(s->flags & FORKNOEXEC);
    memcpy(p->comm, s->comm, sizeof p->comm);
    p->executed = !(s->flags & FORKNOEXEC);
    if (image_id == p->image_id && p->arguments)
        return;
    note_arguments(p);
    if (image_id == p->image_id)
        return;
    p->image_id = image_id;
    if (is_new)
        return;
    /* The peak is that of the new image, and the parent the present one. */
    p->version = ++fake.last_version;
    p->footprint_max = 0;
    const process *parent = find_process(p->ppid);
    p->parent_unique = parent ? parent->unique : 0;
    post(p, NOTE_EXEC, 0);
}

/* Ends a process. A fork just before might go unnoticed, so one is reported in
   any case. */
static void end(process *p, int status) {
    post(p, NOTE_FORK, 0);
    do_exiting(p, status);
}

static void forget(int32_t pid) {
    process *p = find_process(pid);
    if (!p)
        return;
    if (p->life == LIVES)
        end(p, 0); /* it was reaped before it was read again */
    do_remove(find_process(pid));
}

/* Returns the unique id of the process that forked this one. For an orphan
   Linux does not know it: most likely it began the session, if that process has
   ended. */
static uint64_t forker(const process *p, const stat_line *s) {
    const process *leader = find_process(s->sid);
    return leader && leader != p && leader->life != LIVES ? leader->unique
                                                          : p->parent_unique;
}

/* CPU time that this thread has spent on /proc, which macOS would not need. */
static _Thread_local int64_t spent;

int64_t live_spent(void) { return spent; }

static void refresh(int32_t pid) {
    static char text[4096];
    stat_line s;
    if (pid <= 0 || read_file(pid, "stat", text, sizeof text) <= 0 ||
        parse_stat(text, &s)) {
        forget(pid);
        return;
    }
    int64_t start = s.start * (1000000000 / sysconf(_SC_CLK_TCK));
    process *p = find_process(pid);
    if (p && p->start != start) {
        forget(pid);
        p = NULL;
    }
    int is_new = !p;
    if (!p) {
        p = add_process(pid, s.ppid, s.comm);
        p->start = start;
        p->parent_unique = forker(p, &s);
    }
    p->ppid = s.ppid;
    p->pgid = s.pgid;
    p->sid = s.sid;
    p->user = s.user * (1000000000 / sysconf(_SC_CLK_TCK));
    p->system = s.system * (1000000000 / sysconf(_SC_CLK_TCK));
    p->children_elapsed = (int64_t)s.faults_of_children;
    if (s.state == 'Z' || s.state == 'X') {
        if (p->life == LIVES) {
            fake.now = machine_now();
            end(p, s.status);
        }
        p->life = ZOMBIE;
        return;
    }
    if (s.code || is_new)
        note_image(p, &s, is_new);
    note_memory(p);
    note_children(p);
}

void live_refresh(int32_t pid) {
    int64_t before = real_clock(CLOCK_THREAD_CPUTIME_ID);
    refresh(pid);
    spent += real_clock(CLOCK_THREAD_CPUTIME_ID) - before;
}

void live_refresh_all(void) {
    int64_t before = real_clock(CLOCK_THREAD_CPUTIME_ID);
    DIR *dir = opendir("/proc");
    if (!dir)
        abort();
    static int32_t pids[1 << 16];
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (isdigit(*entry->d_name) && count < sizeof pids / sizeof *pids)
            pids[count++] = atoi(entry->d_name);
    closedir(dir);
    /* Parents first, so that a child knows who its parent is. */
    for (size_t i = 0; i < count; i++)
        refresh(pids[i]);
    for (size_t i = 0; i < fake.count;) {
        int32_t pid = fake.table[i].pid;
        size_t j = 0;
        while (j < count && pids[j] != pid)
            j++;
        if (j == count)
            forget(pid);
        else
            i++;
    }
    spent += real_clock(CLOCK_THREAD_CPUTIME_ID) - before;
}
