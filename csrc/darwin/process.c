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

/* Word of a process's end comes a moment before it can be waited for: xnu's
   proc_exit(). How often that is tried, and how long apart. */
enum { REAP_TRIES = 100, REAP_PAUSE_NS = 100000 };

/* -- What is to be told of it -- */

void mw_note(mw_platform *p, mw_handle *h, uint8_t news) {
    if (!h->news) {
        h->next_news = p->first_news;
        p->first_news = h;
    }
    h->news |= news;
}

static void forget_news(mw_platform *p, const mw_handle *h) {
    mw_handle **at = &p->first_news;
    while (*at && *at != h)
        at = &(*at)->next_news;
    if (*at)
        *at = h->next_news;
}

/* Whether an account is of this very process, not of a later one with its pid.
 */
static int is_of(const mw_handle *h, const mw_account *account) {
    return !h->started || h->started == account->started;
}

/* kqueue tells no more of it. */
static void is_unheard(mw_platform *p, mw_handle *h) {
    p->unwatched -= h->is_unwatched;
    h->is_watched = h->is_unwatched = 0;
}

void mw_note_end(mw_platform *p, mw_handle *h, const mw_happening *what) {
    if (h->has_ended)
        return;
    is_unheard(p, h);
    h->has_ended = 1;
    h->end = mw_now();
    h->is_heard = what != NULL;
    if (what && what->has_status) {
        h->has_status = 1;
        h->status = what->status;
    }
    mw_account *account = &h->account;
    if (!mw_read_account(h->pid, p->frequency, account) && is_of(h, account) &&
        account->ended) {
        h->has_account = 1;
        int64_t end;
        if (!mw_time_of_ticks(account->ended, p->frequency, &end))
            h->end = end;
    }
    mw_note(p, h, MW_EXITED_NOW);
}

/* -- Beginning and end of following it -- */

static void watch(mw_platform *p, mw_handle *h) {
    int error = mw_events_watch(&p->events, h->pid, h);
    if (error == -ESRCH) {
        mw_note_end(p, h, NULL);
        return;
    }
    h->is_watched = !error;
    h->is_unwatched = !h->is_watched;
    p->unwatched += h->is_unwatched;
    if (error && error != -ENOTSUP) { /* that is said of all processes */
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
    /* Still the same? Then what is watched is this one, too. */
    if (mw_ask_unique(pid, 1, &again) || again.id != unique.id) {
        mw_platform_detach(p, h);
        return 0;
    }
    /* The first of all is the job's root. */
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
        mw_events_unwatch(&p->events, h->pid);
    is_unheard(p, h);
    if (h->news)
        forget_news(p, h);
    free(h);
}

/* -- The look of every tick -- */

/* Of another user's process nothing is told but whether it is there. */
static enum mw_life look_for(const mw_handle *h) {
    mw_unique unique;
    if (!mw_ask_unique(h->pid, 0, &unique))
        return unique.id == h->unique ? MW_ALIVE : MW_VANISHED;
    if (!mw_ask_unique(h->pid, 1, &unique) && unique.id == h->unique)
        return MW_ENDED;
    return MW_VANISHED;
}

static void look(mw_platform *p, mw_handle *h, mw_reading *out) {
    mw_account account;
    int error = mw_read_account(h->pid, p->frequency, &account);
    if (error == -EPERM) {
        out->life = look_for(h);
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
        /* Since it began to exit: freeing all that it held takes time, and
           until then nobody is told, and nobody can wait for it. */
        out->life = look_for(h);
        if (out->life == MW_ALIVE)
            out->valid |= MW_HAS_RSS | MW_HAS_FOOTPRINT; /* nothing */
        return;
    }
    out->rss = account.rss;
    out->footprint = account.footprint;
    out->valid |= MW_HAS_RSS | MW_HAS_FOOTPRINT;
    /* Only a hint: sh may execute sh. kqueue tells of all, and an inspection
       shows them. */
    out->new_image = h->version && memcmp(h->program, account.program,
                                          sizeof h->program) != 0;
}

int mw_platform_poll(mw_platform *p, mw_handle *h, int64_t now, mw_reading *out,
                     mw_pids *found) {
    (void)now;
    (void)found; /* children are found by scans */
    *out = (mw_reading){.life = MW_ALIVE};
    look(p, h, out);
    if (out->life != MW_ALIVE && !h->is_watched)
        mw_note_end(p, h, NULL);
    if (out->life == MW_ALIVE && h->has_ended)
        out->life = MW_ENDED;
    return 0;
}

int mw_platform_inspect(mw_platform *p, mw_handle *h, mw_inspection *out) {
    (void)p;
    mw_unique unique;
    /* There is no high-water mark of the resident size to be had. */
    out->new_image = h->version && !mw_ask_unique(h->pid, 0, &unique) &&
                     unique.id == h->unique && unique.version != h->version;
    return 0;
}

/* -- What it runs -- */

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

/* The path of its program, and its NUL; empty when not known. */
static size_t add_path(int32_t pid, char *text, uint32_t *valid) {
    char path[PROC_PIDPATHINFO_MAXSIZE] = "";
    if (proc_pidpath(pid, path, sizeof path) <= 0 || !path[0])
        path[0] = '\0';
    else
        *valid |= MW_HAS_EXE;
    return add_string(text, path);
}

/* Its working directory, and its NUL; nothing when not known. */
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
    out->mark = (uint32_t)unique.version;
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
    /* Another one by now? Then the text may be half of each. */
    if (!mw_ask_unique(h->pid, 1, &unique) && unique.id == h->unique &&
        unique.version != h->version)
        read_image(p, h, text, capacity, out);
}

/* -- Its last words -- */

/* The root alone is a child of ours: there are no subreapers. Its own highest
   resident size comes with the wait status, if it had no children: else it is
   the highest of them all, also of those that it did not wait for. */
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
    int is_childless = h->is_heard && !h->has_forked && h->has_account &&
                       !h->account.had_children && mw_job_is_alone(p->job);
    if (is_childless && usage.ru_maxrss > 0)
        *peak = (uint64_t)usage.ru_maxrss; /* bytes here */
    return 1;
}

/* Until macOS 12 a child of vfork() has its parent's memory until it executes
   something, for which the parent waits. From then on it is one of fork(). */
int mw_platform_shares_memory(const mw_platform *p, int32_t pid,
                              int32_t other) {
    char name[16];
    uint32_t flags;
    (void)p, (void)other;
    return !mw_ask_name(pid, name, &flags) && (flags & PROC_FLAG_PPWAIT) != 0;
}

int mw_platform_resident(const mw_platform *p, int32_t pid, uint64_t *rss) {
    mw_account account;
    int error = mw_read_account(pid, p->frequency, &account);
    *rss = error ? 0 : account.rss;
    return error;
}
