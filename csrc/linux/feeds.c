#include "feeds.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/* While events come they are fetched at least this often, so that the kernel's
   buffers, 200 KiB for an ordinary user, do not overflow. */
static const int64_t DRAIN_GAP = 10000000;

/* Passes in which children are looked for after events were lost. */
enum { PASSES_AFTER_LOSS = 3 };

/* Of so many passes one looks for children all the same. */
enum { PASSES_TO_CHECK = 16 };

/* -- Waking -- */

static int set_wake(const mw_feeds *f, int operation, int fd, uint32_t events,
                    uint32_t event) {
    struct epoll_event when = {.events = events, .data.u32 = event};
    return fd < 0 ? 0 : epoll_ctl(f->events_fd, operation, fd, &when);
}

/* The next event of any kind wakes, once: what follows is fetched every
   DRAIN_GAP until there is nothing. Sleeping in quiet times costs nothing so,
   and a busy time costs no wake-up for each event. */
static void await_any(mw_feeds *f) {
    f->next_drain = 0;
    if (f->events->news_fd != f->events->bell_fd)
        set_wake(f, EPOLL_CTL_MOD, f->events->news_fd, EPOLLIN | EPOLLONESHOT,
                 f->event);
    else if (!f->is_listening)
        f->next_drain = mw_now() + DRAIN_GAP;
}

void mw_feeds_listen(mw_feeds *f, int listen) {
    if (!f->events || listen == f->is_listening)
        return;
    f->is_listening = listen;
    set_wake(f, EPOLL_CTL_MOD, f->events->bell_fd, listen ? EPOLLIN : 0,
             f->event);
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
    set_wake(f, EPOLL_CTL_ADD, f->events->bell_fd, 0, f->event);
    if (f->events->news_fd != f->events->bell_fd)
        set_wake(f, EPOLL_CTL_ADD, f->events->news_fd, 0, f->event);
    f->is_listening = 0;
    await_any(f);
}

void mw_feeds_open(mw_feeds *f, const mw_sampler_options *options,
                   int events_fd, uint32_t event, mw_sampler_stats *stats) {
    f->events_fd = events_fd;
    f->event = event;
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
    set_wake(f, EPOLL_CTL_DEL, (*feed)->bell_fd, 0, 0);
    if ((*feed)->news_fd != (*feed)->bell_fd)
        set_wake(f, EPOLL_CTL_DEL, (*feed)->news_fd, 0, 0);
    (*feed)->close(*feed);
    *feed = NULL;
}

void mw_feeds_close(mw_feeds *f) {
    give_up(f, &f->events);
    give_up(f, &f->records);
    give_up(f, &f->hook);
    mw_news_free(&f->heard);
    mw_news_free(&f->hooked);
    mw_news_free(&f->recorded);
    mw_news_free(&f->held);
}

/* -- Draining -- */

static int pass_on(const mw_news_list *from, size_t index, mw_news_list *to) {
    const mw_news *item = &from->items[index];
    return mw_news_copy(to, item, from->text + item->text) ? 0 : -ENOMEM;
}

/* Events and what the hook saw, in the order of time. */
static int merge(const mw_news_list *a, const mw_news_list *b,
                 mw_news_list *out) {
    int error = 0;
    for (size_t i = 0, j = 0; !error && (i < a->count || j < b->count);) {
        if (j == b->count ||
            (i < a->count && a->items[i].time <= b->items[j].time))
            error = pass_on(a, i++, out);
        else
            error = pass_on(b, j++, out);
    }
    return error;
}

/* Takes what the hook saw, but for what may come before its events. */
static int drain_hook(mw_feeds *f, int64_t until) {
    mw_news_list held = f->hooked;
    f->hooked = f->held;
    f->held = held;
    mw_news_clear(&f->held);
    /* What was held the last time is the oldest. */
    int error = f->hook->drain(f->hook, &f->hooked);
    size_t kept = 0;
    for (size_t i = 0; i < f->hooked.count; i++) {
        if (f->hooked.items[i].time > until) {
            if (pass_on(&f->hooked, i, &f->held))
                return -ENOMEM;
        } else {
            f->hooked.items[kept++] = f->hooked.items[i];
        }
    }
    f->hooked.count = kept;
    return error;
}

static void drain_events(mw_feeds *f, mw_sampler_stats *stats) {
    int error = f->events->drain(f->events, &f->heard);
    if (f->events->lost != f->events_lost) {
        f->events_lost = f->events->lost;
        f->incomplete = PASSES_AFTER_LOSS;
    }
    if (error) {
        if (f->events_source == MW_PERF)
            stats->perf_error = error;
        else
            stats->connector_error = error;
        give_up(f, &f->events);
    } else if (f->heard.count) {
        f->next_drain = mw_now() + DRAIN_GAP;
    } else {
        await_any(f);
    }
}

int mw_feeds_drain(mw_feeds *f, int closing, mw_news_list *out,
                   mw_sampler_stats *stats) {
    /* An event comes before what the hook sees of its consequences, and a
       record before the event of its process's end: so events are fetched
       first, and what the hook saw since has to wait. */
    int64_t now = mw_now();
    mw_news_clear(&f->heard);
    mw_news_clear(&f->recorded);
    if (f->events)
        drain_events(f, stats);
    int error = 0;
    if (f->hook) {
        /* Nor is it known what else happened after the last event. */
        int64_t until = now;
        if (f->heard.count && f->heard.items[f->heard.count - 1].time > until)
            until = f->heard.items[f->heard.count - 1].time;
        error = drain_hook(f, f->events && !closing ? until : INT64_MAX);
        if (error == -EPIPE) {
            give_up(f, &f->hook);
            error = 0;
        }
    }
    if (f->records) {
        int failure = f->records->drain(f->records, &f->recorded);
        if (failure) {
            stats->taskstats_error = failure;
            give_up(f, &f->records);
        }
    }
    if (!error)
        error = merge(&f->heard, &f->hooked, out);
    mw_news_clear(&f->hooked);
    for (size_t i = 0; !error && i < f->recorded.count; i++)
        error = pass_on(&f->recorded, i, out);
    stats->lost = f->lost + (f->events ? f->events->lost : 0) +
                  (f->records ? f->records->lost : 0) +
                  (f->hook ? f->hook->lost : 0);
    return error;
}

uint32_t mw_feeds_sources(const mw_feeds *f) {
    uint32_t sources = 0;
    if (f->events && !f->incomplete)
        sources |= f->events_source;
    if (f->records)
        sources |= MW_TASKSTATS;
    if (f->hook)
        sources |= MW_HOOK;
    return sources;
}

int mw_feeds_tell_forks(mw_feeds *f) {
    f->passes++;
    if (f->incomplete) {
        f->incomplete--;
        return 0;
    }
    return f->events && f->passes % PASSES_TO_CHECK != 0;
}
