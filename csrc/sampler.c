/*
 * The sampling thread: ticks on absolute deadlines, looks at once at what was
 * executed, and never waits for the reader. Knows no platform.
 */
#include "memwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "follow.h"
#include "pss.h"

/* The first ticks come this close, then twice as far apart each time until the
   interval is reached: a command shorter than the interval is seen growing. */
static const int64_t FIRST_GAP = 1000000;

/* A reader this far behind (48 MiB) makes the sampler skip ticks. */
static const size_t MOST_UNREAD = 1 << 20;

/* Looks outside the ticks, each time something was executed, may take up 1 part
   in 20 of the time, and this much at once. What counts is CPU time: waiting
   for a busy machine is not using it. */
static const int64_t NEWS_SHARE = 20;
static const int64_t MOST_CREDIT = 20000000;

enum { TOTAL, PROCESS, PSS, LIMITS };

struct mw_sampler {
    mw_platform *platform;
    mw_follower follower; /* the ticking thread's own, as what follows */
    mw_pss *pss;          /* NULL: not wanted */
    uint64_t skipped;     /* ticks since the last one that was made */
    int64_t interval;
    int64_t batch;
    int64_t burst;
    int64_t first_tick;
    int64_t next_wake;   /* of the reader, at the latest */
    int64_t credit;      /* time that looks outside the ticks may take */
    int64_t credit_from; /* when it was last added to */
    uint64_t limits[LIMITS];
    int exceeded[LIMITS]; /* the reader was told */

    pthread_t thread;
    int has_thread;
    int wake_read;
    int wake_write;

    pthread_mutex_t lock; /* of everything below */
    mw_queue unread;
    int woken; /* a byte is in the pipe */
    int ended;
    int error;
    mw_sampler_stats stats;
};

/* Wakes the reader; call with the lock held. */
static void wake(mw_sampler *s) {
    if (s->woken)
        return;
    s->woken = 1;
    /* Cannot fail: the pipe holds at most this one byte. */
    while (write(s->wake_write, "", 1) < 0 && errno == EINTR)
        ;
}

/* Whether something has become more than a limit for the first time. */
static int exceeds(mw_sampler *s, int which, uint64_t size) {
    if (!s->limits[which] || s->exceeded[which] || size <= s->limits[which])
        return 0;
    s->exceeded[which] = 1;
    return 1;
}

static int exceeds_any(mw_sampler *s) {
    const mw_follower *f = &s->follower;
    int total =
        exceeds(s, TOTAL, f->total > f->largest ? f->total : f->largest);
    return exceeds(s, PROCESS, f->largest) || total;
}

/* Hands over what was observed. Returns whether the reader lags. */
static int publish(mw_sampler *s, int64_t time, int alarm, int error) {
    mw_queue *said = &s->follower.said;
    alarm |= exceeds_any(s);
    pthread_mutex_lock(&s->lock);
    if (!error)
        error = mw_queue_move(&s->unread, said);
    if (error) {
        s->error = error;
        said->count = said->text_count = 0;
    }
    int lags = s->unread.count > MOST_UNREAD;
    mw_platform_stats(s->platform, &s->stats);
    s->stats.unreadable = s->follower.unreadable;
    s->stats.error = s->error;
    if (alarm || time >= s->next_wake ||
        s->unread.count * 2 > s->unread.capacity) {
        wake(s);
        s->next_wake = time + s->batch;
    }
    pthread_mutex_unlock(&s->lock);
    return lags;
}

/* Makes one tick and hands it over. Returns whether the reader lags. */
static int make_tick(mw_sampler *s, int64_t time, uint32_t flags, int closing) {
    int error = mw_follow_tick(&s->follower, time, flags, s->skipped, closing);
    int alarm = 0;
    s->skipped = 0;
    if (!error && s->pss) {
        mw_pss_offer(s->pss, time, s->follower.total, &s->follower.table);
        mw_observation sum;
        if (mw_pss_take(s->pss, &sum)) {
            mw_observation *record = mw_queue_add(&s->follower.said);
            /* Where it is an upper bound it proves nothing. */
            alarm = !sum.second && exceeds(s, PSS, sum.value);
            if (record)
                *record = sum;
            else
                error = -ENOMEM;
        }
    }
    return publish(s, time, alarm, error);
}

/* Whether there is time to look at what was executed at once. */
static int has_credit(mw_sampler *s) {
    int64_t now = mw_now();
    s->credit += (now - s->credit_from) / NEWS_SHARE;
    s->credit_from = now;
    if (s->credit > MOST_CREDIT)
        s->credit = MOST_CREDIT;
    return s->credit > 0;
}

static int64_t used_time(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * 1000000000LL + used.tv_nsec;
}

/* Looks at what was executed just now. */
static int hear_news(mw_sampler *s, int64_t time) {
    int64_t before = used_time();
    int lags = publish(s, time, 0, mw_follow_news(&s->follower, time));
    s->credit -= used_time() - before;
    return lags;
}

static int64_t first_gap(const mw_sampler *s) {
    return FIRST_GAP < s->interval ? FIRST_GAP : s->interval;
}

/* From the tick that was due at `deadline` to the next one. */
static int64_t next_gap(const mw_sampler *s, int64_t deadline, int64_t gap) {
    if (deadline - s->first_tick < s->burst)
        return first_gap(s);
    return gap * 2 < s->interval ? gap * 2 : s->interval;
}

/* The flag of a tick that came `gap` after the one before it. */
static uint32_t regular(const mw_sampler *s, int64_t gap) {
    return gap < s->interval ? MW_TICK_EXTRA : 0;
}

static void *run(void *argument) {
    mw_sampler *s = argument;
    int64_t gap = first_gap(s);
    int64_t deadline = s->first_tick + gap;
    int lags = 0;
    /* After a failure of the first tick, too: the root's end is waited for. */
    int root_ended = s->follower.root_ended;
    int error = mw_platform_enter_thread(s->platform, s->follower.root_pid);
    if (s->error)
        error = s->error;

    while (!root_ended) {
        mw_platform_listen(s->platform, !error && !lags && has_credit(s));
        /* After an error only the end of the job is waited for. */
        int event = mw_platform_wait(s->platform, error ? INT64_MAX : deadline);
        if (event & MW_EVENT_STOP)
            break;
        int64_t time = mw_now();
        if (event == MW_EVENT_NEWS && time < deadline) {
            lags = hear_news(s, time);
            error = s->error;
            continue;
        }
        uint32_t flags = regular(s, gap);
        if (event & MW_EVENT_ROOT_EXIT)
            flags = MW_TICK_EXTRA;
        else if (time - deadline > s->interval / 2)
            flags |= MW_TICK_LATE;

        if (lags && !(event & MW_EVENT_ROOT_EXIT)) {
            s->skipped += !(flags & MW_TICK_EXTRA);
            pthread_mutex_lock(&s->lock);
            lags = s->unread.count > MOST_UNREAD;
            pthread_mutex_unlock(&s->lock);
        } else if (!error) {
            lags = make_tick(s, time, flags, (event & MW_EVENT_ROOT_EXIT) != 0);
            error = s->error;
        }

        root_ended =
            s->follower.root_ended || (event & MW_EVENT_ROOT_EXIT) != 0;

        gap = next_gap(s, deadline, gap);
        deadline += gap;
        int64_t now = mw_now();
        if (now >= deadline) {
            /* Deadlines that passed meanwhile cannot be served any more. */
            int64_t missed = (now - deadline) / gap + 1;
            if (gap == s->interval)
                s->skipped += (uint64_t)missed;
            deadline += missed * gap;
        }
    }
    pthread_mutex_lock(&s->lock);
    if (!s->error)
        s->error = error;
    s->stats.error = s->error;
    s->ended = 1;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int open_pipe(int *read_end, int *write_end) {
    int ends[2];
    if (pipe(ends))
        return -errno;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return 0;
}

int mw_sampler_new(const mw_sampler_options *options, mw_sampler **out) {
    *out = NULL;
    if (options->interval <= 0 || options->batch <= 0)
        return -EINVAL;
    mw_sampler *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->interval = options->interval;
    s->batch = options->batch;
    s->burst = options->burst;
    s->limits[TOTAL] = options->total_limit;
    s->limits[PROCESS] = options->process_limit;
    s->limits[PSS] = options->pss_limit;
    s->credit = MOST_CREDIT;
    s->follower.adopter_pid = options->adopter_pid;
    s->follower.has_other_children = options->has_other_children;
    pthread_mutex_init(&s->lock, NULL);
    s->wake_read = s->wake_write = -1;
    int error = open_pipe(&s->wake_read, &s->wake_write);
    if (!error)
        error = mw_platform_open(options, &s->platform);
    s->follower.platform = s->platform;
    if (!error && options->pss != MW_PSS_OFF)
        error = mw_pss_new(s->platform, options->pss, &s->pss);
    if (error) {
        mw_sampler_free(s);
        return error;
    }
    *out = s;
    return 0;
}

int mw_sampler_tick(mw_sampler *s, int32_t root_pid, int64_t time) {
    if (s->has_thread)
        return -EBUSY;
    /* The changes of a tick that failed are lost: none can follow it. */
    if (s->error)
        return s->error;
    s->follower.root_pid = root_pid;
    make_tick(s, time, 0, 0);
    s->ended = s->follower.root_ended;
    return s->error;
}

int mw_sampler_start(mw_sampler *s, int32_t root_pid) {
    if (s->has_thread)
        return -EBUSY;
    s->follower.root_pid = root_pid;
    /* The first tick does not wait for a thread: a command may end within the
       time that it takes to make one. */
    s->first_tick = s->credit_from = mw_now();
    s->next_wake = s->first_tick + s->batch;
    make_tick(s, s->first_tick, regular(s, first_gap(s)), 0);
    /* Signals belong to the caller's threads: this one must never take one. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->has_thread = !error;
    return -error;
}

int mw_sampler_wait(mw_sampler *s, int other_fd, int timeout_ms) {
    struct pollfd fds[2] = {{.fd = s->wake_read, .events = POLLIN},
                            {.fd = other_fd, .events = POLLIN}};
    int reasons = 0;
    if (poll(fds, 2, timeout_ms) < 0) {
        if (errno != EINTR)
            return -errno;
        return MW_WAKE_OTHER;
    }
    if (fds[1].revents)
        reasons |= MW_WAKE_OTHER;
    pthread_mutex_lock(&s->lock);
    if (fds[0].revents) {
        char byte;
        while (read(s->wake_read, &byte, 1) > 0)
            ;
        s->woken = 0;
        if (s->unread.count)
            reasons |= MW_WAKE_BATCH;
    }
    if (s->ended)
        reasons |= MW_WAKE_ENDED;
    pthread_mutex_unlock(&s->lock);
    return reasons;
}

int mw_sampler_read(mw_sampler *s, mw_observation *out, size_t capacity,
                    char *text, size_t text_capacity, size_t *count,
                    size_t *text_count) {
    int error = 0;
    pthread_mutex_lock(&s->lock);
    *count = s->unread.count;
    *text_count = s->unread.text_count;
    if (*count > capacity || *text_count > text_capacity) {
        error = -ENOBUFS;
    } else {
        if (*count)
            memcpy(out, s->unread.records, *count * sizeof *out);
        if (*text_count)
            memcpy(text, s->unread.text, *text_count);
        s->unread.count = 0;
        s->unread.text_count = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return error;
}

int mw_sampler_signal(mw_sampler *s, int number, int32_t *out, size_t capacity,
                      size_t *count) {
    mw_pids found = {0};
    pthread_mutex_lock(&s->lock);
    int ended = s->ended; /* until then the sampling thread reaps them */
    pthread_mutex_unlock(&s->lock);
    int result = mw_platform_signal(s->platform, number, ended, &found);
    *count = found.count;
    for (size_t i = 0; i < found.count && i < capacity; i++)
        out[i] = found.pid[i];
    free(found.pid);
    return result;
}

void mw_sampler_stats_read(mw_sampler *s, mw_sampler_stats *out) {
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    pthread_mutex_unlock(&s->lock);
}

void mw_sampler_free(mw_sampler *s) {
    if (!s)
        return;
    if (s->has_thread) {
        mw_platform_stop(s->platform);
        pthread_join(s->thread, NULL);
    }
    mw_pss_free(s->pss);
    mw_follow_end(&s->follower);
    if (s->platform)
        mw_platform_close(s->platform);
    mw_queue_free(&s->unread);
    if (s->wake_read >= 0)
        close(s->wake_read);
    if (s->wake_write >= 0)
        close(s->wake_write);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
