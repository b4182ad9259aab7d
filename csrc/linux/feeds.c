/* The feeds of one job: opened, drained, merged, given up. */
#include "feeds.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/* The longest time between two drains while events arrive, so that the kernel's
   buffers, 200 KiB for an ordinary user, do not overflow. */
static const int64_t DRAIN_GAP = 10000000;

/* Ticks in which children are looked for after events were lost. */
enum { TICKS_AFTER_LOSS = 3 };

/* One tick in this many looks for children although events cover every fork. */
enum { TICKS_PER_CHECK = 16 };

/* -- Waking -- */

static int set_wake(const mw_feeds *f, int operation, int fd, uint32_t events,
                    uint32_t event) {
    struct epoll_event when = {.events = events, .data.u32 = event};
    return fd < 0 ? 0 : epoll_ctl(f->epoll_fd, operation, fd, &when);
}

/* Makes the next event of any kind wake the thread, once. The events after it
   are fetched every DRAIN_GAP until there are none: so quiet times cost
   nothing, and busy times cost no wake-up for each event. */
static void wake_on_any_event(mw_feeds *f) {
    f->next_drain = 0;
    if (f->events->event_fd != f->events->exec_fd)
        set_wake(f, EPOLL_CTL_MOD, f->events->event_fd, EPOLLIN | EPOLLONESHOT,
                 f->wake_event);
    else if (!f->wakes_on_exec)
        f->next_drain = mw_now() + DRAIN_GAP;
}

void mw_feeds_wake_on_exec(mw_feeds *f, int wake) {
    if (!f->events || wake == f->wakes_on_exec)
        return;
    f->wakes_on_exec = wake;
    set_wake(f, EPOLL_CTL_MOD, f->events->exec_fd, wake ? EPOLLIN : 0,
             f->wake_event);
}

/* -- Opening and closing -- */

static void open_events(mw_feeds *f, uint32_t wanted, mw_sampler_stats *stats) {
    if (wanted & MW_CONNECTOR) {
        stats->connector_error = mw_connector_open(&f->events);
        if (!stats->connector_error)
            f->events_source = MW_CONNECTOR;
    }
    if (!f->events_source && (wanted & MW_PERF)) {
        stats->perf_error = mw_perf_open(&f->events);
        if (!stats->perf_error)
            f->events_source = MW_PERF;
    }
    if (!f->events_source)
        return;
    set_wake(f, EPOLL_CTL_ADD, f->events->exec_fd, 0, f->wake_event);
    if (f->events->event_fd != f->events->exec_fd)
        set_wake(f, EPOLL_CTL_ADD, f->events->event_fd, 0, f->wake_event);
    f->wakes_on_exec = 0;
    wake_on_any_event(f);
}

void mw_feeds_open(mw_feeds *f, const mw_sampler_options *options, int epoll_fd,
                   uint32_t wake_event, mw_sampler_stats *stats) {
    f->epoll_fd = epoll_fd;
    f->wake_event = wake_event;
    open_events(f, options->sources, stats);
    if (options->sources & MW_TASKSTATS)
        stats->taskstats_error = mw_taskstats_open(&f->records);
    if (options->hook && mw_hook_feed(options->hook, &f->hook))
        f->hook = NULL;
    stats->sources = mw_feeds_sources(f);
}

static void give_up(mw_feeds *f, mw_feed **feed) {
    if (!*feed)
        return;
    f->lost += (*feed)->lost;
    set_wake(f, EPOLL_CTL_DEL, (*feed)->exec_fd, 0, 0);
    if ((*feed)->event_fd != (*feed)->exec_fd)
        set_wake(f, EPOLL_CTL_DEL, (*feed)->event_fd, 0, 0);
    (*feed)->close(*feed);
    *feed = NULL;
}

void mw_feeds_close(mw_feeds *f) {
    give_up(f, &f->events);
    give_up(f, &f->records);
    give_up(f, &f->hook);
    mw_event_list_free(&f->from_events);
    mw_event_list_free(&f->from_hook);
    mw_event_list_free(&f->from_records);
    mw_event_list_free(&f->held_back);
}

/* -- Draining -- */

static int append_from(const mw_event_list *from, size_t index,
                       mw_event_list *to) {
    const mw_event *item = &from->items[index];
    return mw_event_copy(to, item, from->text + item->text) ? 0 : -ENOMEM;
}

/* Merges the events of two lists in the order of time. */
static int merge(const mw_event_list *a, const mw_event_list *b,
                 mw_event_list *out) {
    int error = 0;
    for (size_t i = 0, j = 0; !error && (i < a->count || j < b->count);) {
        if (j == b->count ||
            (i < a->count && a->items[i].time <= b->items[j].time))
            error = append_from(a, i++, out);
        else
            error = append_from(b, j++, out);
    }
    return error;
}

/* Takes the hook's events up to the time `until`, and holds back the later
   ones. */
static int drain_hook(mw_feeds *f, int64_t until) {
    mw_event_list emptied = f->from_hook;
    f->from_hook = f->held_back;
    f->held_back = emptied;
    mw_event_list_clear(&f->held_back);
    /* The events that were held back last time are the oldest. */
    int error = f->hook->drain(f->hook, &f->from_hook);
    size_t kept = 0;
    for (size_t i = 0; i < f->from_hook.count; i++) {
        if (f->from_hook.items[i].time > until) {
            if (append_from(&f->from_hook, i, &f->held_back))
                return -ENOMEM;
        } else {
            f->from_hook.items[kept++] = f->from_hook.items[i];
        }
    }
    f->from_hook.count = kept;
    return error;
}

static void drain_events(mw_feeds *f, mw_sampler_stats *stats) {
    int error = f->events->drain(f->events, &f->from_events);
    if (f->events->lost != f->events_lost) {
        f->events_lost = f->events->lost;
        f->incomplete_ticks = TICKS_AFTER_LOSS;
    }
    if (error) {
        if (f->events_source == MW_PERF)
            stats->perf_error = error;
        else
            stats->connector_error = error;
        give_up(f, &f->events);
    } else if (f->from_events.count) {
        f->next_drain = mw_now() + DRAIN_GAP;
    } else {
        wake_on_any_event(f);
    }
}

int mw_feeds_drain(mw_feeds *f, int closing, mw_event_list *out,
                   mw_sampler_stats *stats) {
    /* The kernel's event of an exec comes before the hook's next event of that
       process, and a record before the event of its process's exit. So the
       kernel's events are fetched first, and later events of the hook have to
       wait. */
    int64_t now = mw_now();
    mw_event_list_clear(&f->from_events);
    mw_event_list_clear(&f->from_records);
    if (f->events)
        drain_events(f, stats);
    int error = 0;
    if (f->hook) {
        /* Nor is it known whether the kernel has more events after the last
           one. */
        int64_t until = now;
        if (f->from_events.count &&
            f->from_events.items[f->from_events.count - 1].time > until)
            until = f->from_events.items[f->from_events.count - 1].time;
        error = drain_hook(f, f->events && !closing ? until : INT64_MAX);
        if (error == -EPIPE) {
            give_up(f, &f->hook);
            error = 0;
        }
    }
    if (f->records) {
        int failure = f->records->drain(f->records, &f->from_records);
        if (failure) {
            stats->taskstats_error = failure;
            give_up(f, &f->records);
        }
    }
    if (!error)
        error = merge(&f->from_events, &f->from_hook, out);
    mw_event_list_clear(&f->from_hook);
    for (size_t i = 0; !error && i < f->from_records.count; i++)
        error = append_from(&f->from_records, i, out);
    stats->lost = f->lost + (f->events ? f->events->lost : 0) +
                  (f->records ? f->records->lost : 0) +
                  (f->hook ? f->hook->lost : 0);
    return error;
}

uint32_t mw_feeds_sources(const mw_feeds *f) {
    uint32_t sources = 0;
    if (f->events && !f->incomplete_ticks)
        sources |= f->events_source;
    if (f->records)
        sources |= MW_TASKSTATS;
    if (f->hook)
        sources |= MW_HOOK;
    return sources;
}

int mw_feeds_cover_forks(mw_feeds *f) {
    f->ticks++;
    if (f->incomplete_ticks) {
        f->incomplete_ticks--;
        return 0;
    }
    return f->events && f->ticks % TICKS_PER_CHECK != 0;
}
