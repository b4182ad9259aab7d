/* One process: what is read of it at every tick, at its end, and once. */
#include <errno.h>
#include <libproc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "arguments.h"
#include "state.h"

/* kqueue reports the end of a process a moment before it can be waited for
   (xnu's proc_exit()): how often that is tried, and how long apart. */
enum { REAP_TRIES = 100, REAP_PAUSE_NS = 100000 };

/* -- Events -- */

void mw_note_event(mw_platform *p, mw_handle *h, uint8_t event) {
    if (!h->pending) {
        h->next_pending = p->first_pending;
        p->first_pending = h;
    }
    h->pending |= event;
}

static void forget_pending(mw_platform *p, const mw_handle *h) {
    mw_handle **at = &p->first_pending;
    while (*at && *at != h)
        at = &(*at)->next_pending;
    if (*at)
        *at = h->next_pending;
}

/* Returns whether an account is of this process, not of a later one that has
   its pid. */
static int is_of(const mw_handle *h, const mw_account *account) {
    return !h->started || h->started == account->started;
}

/* Notes that kqueue does not watch the process any more. */
static void stop_watching(mw_platform *p, mw_handle *h) {
    p->unwatched -= h->is_unwatched;
    h->is_watched = h->is_unwatched = 0;
}

void mw_note_exit(mw_platform *p, mw_handle *h, const mw_kqueue_event *event) {
    if (h->has_ended)
        return;
    stop_watching(p, h);
    h->has_ended = 1;
    h->end = mw_now();
    h->end_by_kqueue = event != NULL;
    if (event && event->has_status) {
        h->has_status = 1;
        h->status = event->status;
    }
    mw_account *account = &h->account;
    if (!mw_read_account(h->pid, p->frequency, account) && is_of(h, account) &&
        account->ended) {
        h->has_account = 1;
        int64_t end;
        if (!mw_time_of_ticks(account->ended, p->frequency, &end))
            h->end = end;
    }
    mw_note_event(p, h, MW_KQUEUE_EXIT);
}

/* -- The beginning and end of following a process -- */

static void watch(mw_platform *p, mw_handle *h) {
    int error = mw_kqueues_watch(&p->kqueues, h->pid, h);
    if (error == -ESRCH) {
        mw_note_exit(p, h, NULL);
        return;
    }
    h->is_watched = !error;
    h->is_unwatched = !h->is_watched;
    p->unwatched += h->is_unwatched;
    if (error && error != -ENOTSUP) { /* ENOTSUP: there are no events at all */
        p->stats.lost++;
        p->stats.kqueue_error = error;
    }
}

int mw_platform_attach(mw_platform *p, int32_t pid, mw_handle **out,
                       mw_identity *identity) {
    mw_row row;
    mw_unique unique, again;
    *out = NULL;
    int error = mw_find_process(pid, &row);
    if (!error)
        error = mw_ask_unique(pid, 1, &unique);
    if (error)
        return error == -ESRCH ? 0 : error;
    mw_handle *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->pid = pid;
    h->unique = unique.id;
    watch(p, h);
    /* If it is still the same process, then it is also the one that is
       watched. */
    if (mw_ask_unique(pid, 1, &again) || again.id != unique.id) {
        mw_platform_detach(p, h);
        return 0;
    }
    /* The first process that is followed is the job's root. */
    if (!p->job->members.root_pid)
        mw_job_set_root(p->job, &row, &unique);
    /* It may have forked before it was watched. */
    p->scan_is_due = 1;
    identity->start = mw_since_boot(row.start);
    identity->ppid = mw_job_follow(p->job, &row);
    identity->valid = MW_HAS_START;
    *out = h;
    return 0;
}

void mw_platform_detach(mw_platform *p, mw_handle *h) {
    if (h->is_watched)
        mw_kqueues_unwatch(&p->kqueues, h->pid);
    stop_watching(p, h);
    if (h->pending)
        forget_pending(p, h);
    free(h);
}

/* -- What is read at every tick -- */

/* Checks whether a process is there, which works for every user's. */
static enum mw_life life_of(const mw_handle *h) {
    mw_unique unique;
    if (!mw_ask_unique(h->pid, 0, &unique))
        return unique.id == h->unique ? MW_ALIVE : MW_VANISHED;
    if (!mw_ask_unique(h->pid, 1, &unique) && unique.id == h->unique)
        return MW_ENDED;
    return MW_VANISHED;
}

static void read_process(mw_platform *p, mw_handle *h, mw_reading *out) {
    mw_account account;
    int error = mw_read_account(h->pid, p->frequency, &account);
    if (error == -EPERM) {
        out->life = life_of(h);
        return;
    }
    if (error || !is_of(h, &account)) {
        out->life = MW_VANISHED;
        return;
    }
    h->started = account.started;
    out->footprint_peak = account.footprint_peak;
    out->valid = MW_HAS_WATERMARK;
    if (account.ended) {
        /* It has begun to exit. Freeing all that it held takes time, and until
           then its end is not reported and its parent cannot wait for it. */
        out->life = life_of(h);
        if (out->life == MW_ALIVE)
            out->valid |= MW_HAS_RSS | MW_HAS_FOOTPRINT; /* nothing */
        return;
    }
    out->rss = account.rss;
    out->footprint = account.footprint;
    out->valid |= MW_HAS_RSS | MW_HAS_FOOTPRINT;
    /* This finds only some execs: sh may execute sh. kqueue reports all, and an
       inspection shows them. */
    out->new_image = h->version && memcmp(h->program, account.program,
                                          sizeof h->program) != 0;
}

int mw_platform_poll(mw_platform *p, mw_handle *h, int64_t now, mw_reading *out,
                     mw_pids *found) {
    (void)now;
    (void)found; /* children are found by scans */
    *out = (mw_reading){.life = MW_ALIVE};
    read_process(p, h, out);
    if (out->life != MW_ALIVE && !h->is_watched)
        mw_note_exit(p, h, NULL);
    if (out->life == MW_ALIVE && h->has_ended)
        out->life = MW_ENDED;
    return 0;
}

int mw_platform_inspect(mw_platform *p, mw_handle *h, mw_inspection *out) {
    (void)p;
    mw_unique unique;
    /* macOS has no high-water mark of the resident size. */
    out->new_image = h->version && !mw_ask_unique(h->pid, 0, &unique) &&
                     unique.id == h->unique && unique.version != h->version;
    return 0;
}

/* -- What a process runs -- */

int mw_ask_name(int32_t pid, char name[16], uint32_t *flags) {
    struct proc_bsdshortinfo info;
    if (proc_pidinfo(pid, PROC_PIDT_SHORTBSDINFO, 1, &info, sizeof info) !=
        (int)sizeof info)
        return -ESRCH;
    memcpy(name, info.pbsi_comm, 15);
    name[15] = '\0';
    *flags = info.pbsi_flags;
    return 0;
}

static size_t add_string(char *text, const char *string) {
    size_t length = strlen(string) + 1;
    memcpy(text, string, length);
    return length;
}

/* Writes the path of the program and a NUL; an empty path if it is not known.
   Returns the length. */
static size_t add_path(int32_t pid, char *text, uint32_t *valid) {
    char path[PROC_PIDPATHINFO_MAXSIZE] = "";
    if (proc_pidpath(pid, path, sizeof path) <= 0 || !path[0])
        path[0] = '\0';
    else
        *valid |= MW_HAS_EXE;
    return add_string(text, path);
}

/* Writes the working directory and a NUL; nothing if it is not known. Returns
   the length. */
static size_t add_directory(int32_t pid, char *text, uint32_t *valid) {
    struct proc_vnodepathinfo paths;
    if (proc_pidinfo(pid, PROC_PIDVNODEPATHINFO, 0, &paths, sizeof paths) !=
            (int)sizeof paths ||
        !paths.pvi_cdir.vip_path[0])
        return 0;
    paths.pvi_cdir.vip_path[sizeof paths.pvi_cdir.vip_path - 1] = '\0';
    *valid |= MW_HAS_CWD;
    return add_string(text, paths.pvi_cdir.vip_path);
}

/* Writes the command line, up to `room` bytes. Returns the length. */
static size_t add_words(const mw_platform *p, int32_t pid, char *text,
                        size_t room, uint32_t *valid) {
    mw_words words;
    int64_t size = mw_read_arguments(pid, p->arguments, p->arguments_room);
    if (size < 0 || mw_parse_arguments(p->arguments, (size_t)size, &words) ||
        !words.length)
        return 0;
    *valid |= MW_HAS_ARGV;
    if (words.is_cut || words.length > room)
        *valid |= MW_ARGV_CUT;
    if (words.length > room)
        words.length = room;
    memcpy(text, p->arguments + words.offset, words.length);
    return words.length;
}

static void read_image(const mw_platform *p, mw_handle *h, char *text,
                       size_t capacity, mw_image *out) {
    mw_unique unique;
    char name[16];
    uint32_t flags;
    *out = (mw_image){0};
    if (mw_ask_unique(h->pid, 1, &unique) || unique.id != h->unique ||
        mw_ask_name(h->pid, name, &flags))
        return;
    h->version = unique.version;
    memcpy(h->program, unique.program, sizeof h->program);
    out->exec_id = (uint32_t)unique.version;
    if (!(flags & PROC_FLAG_EXEC))
        out->valid |= MW_INHERITED;
    size_t length = add_string(text, name);
    length += add_path(h->pid, text + length, &out->valid);
    length += add_directory(h->pid, text + length, &out->valid);
    length +=
        add_words(p, h->pid, text + length, capacity - length, &out->valid);
    out->length = length;
}

void mw_platform_image(mw_platform *p, mw_handle *h, char *text,
                       size_t capacity, mw_image *out) {
    mw_unique unique;
    read_image(p, h, text, capacity, out);
    /* If another image runs by now, the text may be half of each. */
    if (!mw_ask_unique(h->pid, 1, &unique) && unique.id == h->unique &&
        unique.version != h->version)
        read_image(p, h, text, capacity, out);
}

/* -- The end of a process -- */

/* Reaps the root, the only child of this process: there are no subreapers. The
   highest resident size that comes with the wait status is the root's own only
   if it had no children: otherwise it is the highest of them all, also of those
   that it did not wait for. */
int mw_platform_reap(mw_platform *p, mw_handle *h, int *status,
                     uint64_t *peak) {
    static const struct timespec pause = {.tv_nsec = REAP_PAUSE_NS};
    struct rusage usage;
    *peak = 0;
    if (!p->adopter_pid || h->pid != p->job->members.root_pid)
        return 0;
    pid_t reaped = wait4(h->pid, status, WNOHANG, &usage);
    for (int i = 0; !reaped && h->has_ended && i < REAP_TRIES; i++) {
        nanosleep(&pause, NULL);
        reaped = wait4(h->pid, status, WNOHANG, &usage);
    }
    if (reaped != h->pid)
        return 0;
    int is_childless = h->end_by_kqueue && !h->has_forked && h->has_account &&
                       !h->account.had_children && mw_job_is_alone(p->job);
    if (is_childless && usage.ru_maxrss > 0)
        *peak = (uint64_t)usage.ru_maxrss; /* bytes here */
    return 1;
}
