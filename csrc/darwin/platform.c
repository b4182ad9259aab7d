/* The job as a whole: its end, its events, and when the machine is scanned. */
#include "platform.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "clock.h"
#include "state.h"

/*
 * A scan copies 648 bytes for each process on the machine. It is made when
 * kqueue reports that a process of the job has forked, because it does not say
 * which child; after a process joins, because it may have forked before it was
 * watched; and once in a while without a reason. Scans may take up 1 part in 20
 * of the thread's time.
 */
static const int64_t SCAN_SHARE = 20;
static const int64_t SAFE_SCAN = 1000000000;

/* How long after a scan that failed the next one is made, at the soonest. */
static const int64_t FAILED_SCAN = 1000000;

/* How often the root's end is checked if kqueue does not report it. */
static const int64_t ROOT_CHECK = 10000000;

/* Events that are taken in one call. */
enum { MOST_EVENTS = 64 };

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
    int wants_events = (options->sources & MW_KQUEUE) != 0;
    int error =
        mw_kqueues_open(&p->kqueues, wants_events, &p->stats.kqueue_error);
    if (!error && (!p->arguments || !p->job))
        error = -ENOMEM;
    if (p->kqueues.event_fd >= 0)
        p->stats.sources = MW_KQUEUE;
    if (error) {
        mw_platform_close(p);
        return error;
    }
    *out = p;
    return 0;
}

void mw_platform_close(mw_platform *p) {
    mw_kqueues_close(&p->kqueues);
    free_job(p->job);
    free(p->arguments);
    free(p);
}

int mw_platform_enter_thread(mw_platform *p, int32_t root_pid) {
    mw_platform_name_thread("memwatch-tick");
    int error = mw_kqueues_expect_end(&p->kqueues, root_pid);
    if (error == -ESRCH)
        p->root_has_ended = 1;
    else if (error)
        p->unwatched_root = root_pid;
    return 0;
}

/* -- Sleeping -- */

/* Returns whether there is a reason for a scan. */
static int wants_scan(const mw_platform *p) {
    return p->scan_is_due || p->unwatched || p->kqueues.event_fd < 0;
}

/* Takes the events of kqueue, and reads at once what will soon be gone. */
static int take_events(mw_platform *p) {
    mw_kqueue_event seen[MOST_EVENTS];
    int count;
    do {
        count = mw_kqueues_take(&p->kqueues, seen, MOST_EVENTS);
        for (int i = 0; i < count; i++) {
            mw_handle *h = seen[i].handle;
            if (seen[i].what & MW_KQUEUE_FORK) {
                h->has_forked = 1;
                p->scan_is_due = 1;
            }
            if (seen[i].what & MW_KQUEUE_EXEC)
                mw_note_event(p, h, MW_KQUEUE_EXEC);
            if (seen[i].what & MW_KQUEUE_EXIT)
                mw_note_exit(p, h, &seen[i]);
        }
    } while (count == MOST_EVENTS);
    return count < 0 ? count : 0;
}

static void check_root(mw_platform *p) {
    mw_unique unique;
    if (p->unwatched_root && mw_ask_unique(p->unwatched_root, 0, &unique))
        p->root_has_ended = 1;
}

int mw_platform_wait(mw_platform *p, int64_t deadline) {
    for (;;) {
        int64_t until = deadline;
        int wakes = p->kqueues.wakes_on_events;
        check_root(p);
        if (p->root_has_ended)
            return MW_WAITED_ROOT_EXIT;
        if (p->unwatched_root && mw_now() + ROOT_CHECK < until)
            until = mw_now() + ROOT_CHECK;
        if (wakes && p->scan_is_due && p->next_scan < until)
            until = p->next_scan;
        int waited = mw_kqueues_sleep(&p->kqueues, until);
        int64_t now = mw_now();
        if (waited & MW_WAITED_EVENTS) {
            waited &= ~MW_WAITED_EVENTS;
            take_events(p);
        }
        if (waited & MW_WAITED_ROOT_EXIT)
            p->root_has_ended = 1;
        if (wakes &&
            (p->first_pending || (p->scan_is_due && now >= p->next_scan)))
            waited |= MW_WAITED_EVENTS;
        if (waited || now >= deadline)
            return waited;
    }
}

void mw_platform_stop(mw_platform *p) { mw_kqueues_stop(&p->kqueues); }

void mw_platform_wake_on_events(mw_platform *p, int wake) {
    mw_kqueues_wake_on_events(&p->kqueues, wake);
}

/* -- Events -- */

/* Appends the event of an exec, unless its image has been read already or
   cannot be read any more. */
static int add_exec(const mw_handle *h, int64_t time, mw_event_list *out) {
    mw_unique unique;
    char name[16];
    uint32_t flags;
    if (mw_ask_unique(h->pid, 1, &unique) || unique.id != h->unique ||
        unique.version == h->version || mw_ask_name(h->pid, name, &flags))
        return 0;
    mw_event *event = mw_event_add(out, name, strlen(name));
    if (!event)
        return -ENOMEM;
    event->kind = MW_EVENT_EXEC;
    event->pid = h->pid;
    event->time = time;
    event->exec_id = (uint32_t)unique.version;
    return 0;
}

static int add_exit(const mw_handle *h, mw_event_list *out) {
    mw_event *event = mw_event_add(out, "", 0);
    if (!event)
        return -ENOMEM;
    event->kind = MW_EVENT_EXIT;
    event->pid = h->pid;
    event->time = h->end;
    if (h->has_status) {
        event->status = h->status;
        event->valid |= MW_HAS_STATUS;
    }
    if (h->has_account) {
        const mw_account *account = &h->account;
        event->footprint = account->footprint_peak;
        event->user = account->user;
        event->system = account->system;
        event->read_bytes = account->read_bytes;
        event->written_bytes = account->written_bytes;
        event->valid |= MW_HAS_FOOTPRINT | MW_HAS_CPU | MW_HAS_IO;
    }
    return 0;
}

/* Reverses the list of pending events, in which the latest is the first. */
static void put_in_order(mw_platform *p) {
    mw_handle *ordered = NULL;
    for (mw_handle *h = p->first_pending, *next; h; h = next) {
        next = h->next_pending;
        h->next_pending = ordered;
        ordered = h;
    }
    p->first_pending = ordered;
}

int mw_platform_events(mw_platform *p, int closing, mw_event_list *out) {
    (void)closing; /* nothing is held back */
    int error = take_events(p);
    int64_t now = mw_now();
    put_in_order(p);
    while (p->first_pending && !error) {
        mw_handle *h = p->first_pending;
        p->first_pending = h->next_pending;
        uint8_t pending = h->pending;
        h->pending = 0;
        if (pending & MW_KQUEUE_EXEC)
            error = add_exec(h, pending & MW_KQUEUE_EXIT ? h->end : now, out);
        if (!error && pending & MW_KQUEUE_EXIT)
            error = add_exit(h, out);
    }
    return error;
}

uint32_t mw_platform_sources(const mw_platform *p) {
    return p->kqueues.event_fd >= 0 ? MW_KQUEUE : 0;
}

/* -- Processes that have joined -- */

/* Adds the processes of the job that are not followed yet. They are known by
   more than their pid, which may have been reused. */
static int find_members(mw_platform *p, mw_pids *found) {
    const mw_candidates *candidates = &p->job->members.now;
    size_t before = found->count;
    int error = 0;
    pthread_mutex_lock(&p->job->lock);
    int scan_error = mw_job_scan(p->job);
    for (size_t i = 0; !scan_error && !error && i < candidates->count; i++) {
        const mw_candidate *candidate = &candidates->items[i];
        if (candidate->standing == MW_MEMBER && !candidate->is_followed)
            error = mw_pids_add(found, candidate->pid);
    }
    pthread_mutex_unlock(&p->job->lock);
    /* The processes found may have forked before they are watched. And a scan
       that failed must be repeated. */
    p->scan_has_failed = scan_error != 0;
    p->scan_is_due = scan_error || found->count != before;
    p->stats.lost += scan_error != 0;
    return error;
}

int mw_platform_discover(mw_platform *p,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found) {
    (void)is_member, (void)members; /* find_members() knows that */
    int64_t now = mw_now();
    int is_wanted = wants_scan(p) || now >= p->next_safe_scan;
    if (!p->job->members.root_pid)
        return 0;
    /* After the root's end there is no next tick, so the scan cannot wait. */
    if (!p->root_has_ended && (!is_wanted || now < p->next_scan))
        return 0;
    int64_t before = mw_thread_cpu_time();
    int error = find_members(p, found);
    now = mw_now();
    p->next_scan = now + (mw_thread_cpu_time() - before) * (SCAN_SHARE - 1);
    if (p->scan_has_failed && p->next_scan < now + FAILED_SCAN)
        p->next_scan = now + FAILED_SCAN;
    p->next_safe_scan = now + SAFE_SCAN;
    return error;
}

void mw_platform_stats(const mw_platform *p, mw_sampler_stats *out) {
    *out = p->stats;
}
