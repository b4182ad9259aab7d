/* The job as a whole: its end, its news, and when the machine is scanned. */
#include "platform.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "state.h"

/*
 * A scan copies 648 bytes for each process on the machine. It is made when
 * kqueue says that somebody of the job has forked, which says not whom; when
 * somebody joined, who may have forked before he was watched; and once in a
 * while without a reason. Scans may take up 1 part in 20 of the thread's time.
 */
static const int64_t SCAN_SHARE = 20;
static const int64_t SAFE_SCAN = 1000000000;

/* One that failed is made up for after so long, at the next look or later. */
static const int64_t FAILED_SCAN = 1000000;

/* How often the root's end is looked for where kqueue does not tell of it. */
static const int64_t ROOT_CHECK = 10000000;

/* News that are taken at once. */
enum { MOST_NEWS = 64 };

static mw_job *new_job(void) {
    mw_job *job = calloc(1, sizeof *job);
    if (job)
        pthread_mutex_init(&job->lock, NULL);
    return job;
}

static void free_job(mw_job *job) {
    if (!job)
        return;
    mw_membership_free(&job->members);
    mw_listing_free(&job->listing);
    pthread_mutex_destroy(&job->lock);
    free(job);
}

int mw_platform_open(const mw_sampler_options *options, mw_platform **out) {
    *out = NULL;
    mw_platform *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->adopter_pid = options->adopter_pid;
    p->frequency = mw_kernel_frequency();
    p->arguments_room = mw_arguments_room();
    p->arguments = malloc(p->arguments_room);
    p->job = new_job();
    int wants_news = (options->sources & MW_KQUEUE) != 0;
    int error = mw_events_open(&p->events, wants_news, &p->stats.kqueue_error);
    if (!error && (!p->arguments || !p->job))
        error = -ENOMEM;
    if (p->events.news_fd >= 0)
        p->stats.sources = MW_KQUEUE;
    if (error) {
        mw_platform_close(p);
        return error;
    }
    *out = p;
    return 0;
}

void mw_platform_close(mw_platform *p) {
    mw_events_close(&p->events);
    free_job(p->job);
    free(p->arguments);
    free(p);
}

int mw_platform_enter_thread(mw_platform *p, int32_t root_pid) {
    mw_platform_name_thread("memwatch-tick");
    int error = mw_events_expect_end(&p->events, root_pid);
    if (error == -ESRCH)
        p->root_has_ended = 1;
    else if (error)
        p->unheard_root = root_pid;
    return 0;
}

/* -- Sleeping -- */

static int wants_scan(const mw_platform *p) {
    return p->scan_is_due || p->unwatched || p->events.news_fd < 0;
}

/* Takes what kqueue tells, and reads at once what is soon gone. */
static int take_news(mw_platform *p) {
    mw_happening seen[MOST_NEWS];
    int count;
    do {
        count = mw_events_take(&p->events, seen, MOST_NEWS);
        for (int i = 0; i < count; i++) {
            mw_handle *h = seen[i].who;
            if (seen[i].what & MW_FORKED) {
                h->has_forked = 1;
                p->scan_is_due = 1;
            }
            if (seen[i].what & MW_EXECUTED)
                mw_note(p, h, MW_EXECUTED);
            if (seen[i].what & MW_EXITED_NOW)
                mw_note_end(p, h, &seen[i]);
        }
    } while (count == MOST_NEWS);
    return count < 0 ? count : 0;
}

static void look_for_root(mw_platform *p) {
    mw_unique unique;
    if (p->unheard_root && mw_ask_unique(p->unheard_root, 0, &unique))
        p->root_has_ended = 1;
}

int mw_platform_wait(mw_platform *p, int64_t deadline) {
    for (;;) {
        int64_t until = deadline;
        int is_listening = p->events.is_listening;
        look_for_root(p);
        if (p->root_has_ended)
            return MW_EVENT_ROOT_EXIT;
        if (p->unheard_root && mw_now() + ROOT_CHECK < until)
            until = mw_now() + ROOT_CHECK;
        if (is_listening && p->scan_is_due && p->next_scan < until)
            until = p->next_scan;
        int events = mw_events_sleep(&p->events, until);
        int64_t now = mw_now();
        if (events & MW_EVENT_NEWS) {
            events &= ~MW_EVENT_NEWS;
            take_news(p);
        }
        if (events & MW_EVENT_ROOT_EXIT)
            p->root_has_ended = 1;
        if (is_listening &&
            (p->first_news || (p->scan_is_due && now >= p->next_scan)))
            events |= MW_EVENT_NEWS;
        if (events || now >= deadline)
            return events;
    }
}

void mw_platform_stop(mw_platform *p) { mw_events_stop(&p->events); }

void mw_platform_listen(mw_platform *p, int listen) {
    mw_events_listen(&p->events, listen);
}

/* -- News -- */

static int tell_exec(const mw_handle *h, int64_t time, mw_news_list *out) {
    mw_unique unique;
    char name[16];
    uint32_t flags;
    if (mw_ask_unique(h->pid, 1, &unique) || unique.id != h->unique ||
        unique.version == h->version || mw_ask_name(h->pid, name, &flags))
        return 0; /* it was seen, or there is nothing to see any more */
    mw_news *n = mw_news_add(out, name, strlen(name));
    if (!n)
        return -ENOMEM;
    n->kind = MW_NEWS_EXEC;
    n->pid = h->pid;
    n->time = time;
    n->mark = (uint32_t)unique.version;
    return 0;
}

static int tell_end(const mw_handle *h, mw_news_list *out) {
    mw_news *n = mw_news_add(out, "", 0);
    if (!n)
        return -ENOMEM;
    n->kind = MW_NEWS_EXIT;
    n->pid = h->pid;
    n->time = h->end;
    if (h->has_status) {
        n->status = h->status;
        n->valid |= MW_HAS_STATUS;
    }
    if (h->has_account) {
        const mw_account *account = &h->account;
        n->footprint = account->footprint_peak;
        n->user = account->user;
        n->system = account->system;
        n->read_bytes = account->read_bytes;
        n->written_bytes = account->written_bytes;
        n->valid |= MW_HAS_FOOTPRINT | MW_HAS_CPU | MW_HAS_IO;
    }
    return 0;
}

/* What was put down last is the first. */
static void put_in_order(mw_platform *p) {
    mw_handle *ordered = NULL;
    for (mw_handle *h = p->first_news, *next; h; h = next) {
        next = h->next_news;
        h->next_news = ordered;
        ordered = h;
    }
    p->first_news = ordered;
}

int mw_platform_news(mw_platform *p, int closing, mw_news_list *out) {
    (void)closing; /* nothing is held back */
    int error = take_news(p);
    int64_t now = mw_now();
    put_in_order(p);
    while (p->first_news && !error) {
        mw_handle *h = p->first_news;
        p->first_news = h->next_news;
        uint8_t news = h->news;
        h->news = 0;
        if (news & MW_EXECUTED)
            error = tell_exec(h, news & MW_EXITED_NOW ? h->end : now, out);
        if (!error && news & MW_EXITED_NOW)
            error = tell_end(h, out);
    }
    return error;
}

uint32_t mw_platform_sources(const mw_platform *p) {
    return p->events.news_fd >= 0 ? MW_KQUEUE : 0;
}

/* -- Who has joined -- */

static int64_t used_time(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * 1000000000LL + used.tv_nsec;
}

/* Adds who is of the job and not followed yet: by the process, not by the pid,
   which may be in use again. */
static int find_members(mw_platform *p, mw_pids *found) {
    const mw_people *people = &p->job->members.now;
    size_t before = found->count;
    int error = 0;
    pthread_mutex_lock(&p->job->lock);
    int scan_error = mw_job_scan(p->job);
    for (size_t i = 0; !scan_error && !error && i < people->count; i++) {
        const mw_person *person = &people->person[i];
        if (person->standing == MW_MEMBER && !person->is_followed)
            error = mw_pids_add(found, person->pid);
    }
    pthread_mutex_unlock(&p->job->lock);
    /* Who was found may have forked before he is watched. And the next scan
       makes up for one that failed. */
    p->scan_has_failed = scan_error != 0;
    p->scan_is_due = scan_error || found->count != before;
    p->stats.lost += scan_error != 0;
    return error;
}

int mw_platform_discover(mw_platform *p,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found) {
    (void)is_member, (void)members; /* see find_members() */
    int64_t now = mw_now();
    int is_wanted = wants_scan(p) || now >= p->next_safe_scan;
    if (!p->job->members.root_pid)
        return 0;
    /* After the root's end there is no next time. */
    if (!p->root_has_ended && (!is_wanted || now < p->next_scan))
        return 0;
    int64_t before = used_time();
    int error = find_members(p, found);
    now = mw_now();
    p->next_scan = now + (used_time() - before) * (SCAN_SHARE - 1);
    if (p->scan_has_failed && p->next_scan < now + FAILED_SCAN)
        p->next_scan = now + FAILED_SCAN;
    p->next_safe_scan = now + SAFE_SCAN;
    return error;
}

void mw_platform_stats(const mw_platform *p, mw_sampler_stats *out) {
    *out = p->stats;
}
