/*
 * The sampling thread: it makes ticks on absolute deadlines, reads a process at
 * once when it has executed something, and never waits for the reader. Knows no
 * platform.
 */
#include "memwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "credit.h"
#include "follow.h"
#include "pss.h"
#include "thread.h"
#include "watch.h"

/* The gap between the first two ticks. It doubles each time until it reaches
   the interval, so that a command shorter than the interval is seen growing. */
static const int64_t FIRST_GAP = 1000000;

/* Observations that the reader has not read (48 MiB) before ticks are
   skipped. */
static const size_t MOST_UNREAD = 1 << 20;

/* Handling events outside the ticks, each time something was executed, may take
   up 1 part in 20 of the time, and this much at once. CPU time counts: waiting
   for a busy machine costs nothing. */
static const int64_t EVENT_SHARE = 20;
static const int64_t MOST_CREDIT = 20000000;

/* Near a limit ticks may take up 1 part in 10 of the time: those of a hundred
   processes take some 0.4 ms each. */
static const int64_t NEAR_SHARE = 10;

/* Available memory is read at most this often, at 20 us of CPU time, and
   reported when it is lower by this much than ever. */
static const int64_t AVAILABLE_GAP = 10000000;
static const uint64_t AVAILABLE_STEP = 1 << 20;

/* OWN has the limit of FOOTPRINT, which may be exceeded long before, or of
   PSS. */
enum { TOTAL, PROCESS, PSS, FOOTPRINT, OWN, WATCHES };

struct mw_sampler {
    mw_platform *platform;
    mw_follower follower; /* of the ticking thread alone, as what follows */
    mw_pss *pss;          /* NULL: not wanted */
    uint64_t skipped;     /* ticks since the last one that was made */
    int64_t interval;
    int64_t batch;
    int64_t burst;
    int64_t first_tick;
    int64_t next_wake; /* of the reader, at the latest */
    mw_credit credit;  /* CPU time that may be used outside the ticks */
    mw_watch watches[WATCHES];
    int is_near;       /* one of them, at the last tick */
    int64_t tick_cost; /* CPU time of the last tick; 0 without limits */
    uint64_t pss_sum;  /* the last one; an upper bound only if it is less than
                          the one before; 0: none */
    int has_limits;
    uint64_t min_available;
    uint64_t least_available; /* reported so far; 0: none */
    int64_t next_available;

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

/* Wakes the reader. Call with the lock held. */
static void wake(mw_sampler *s) {
    if (s->woken)
        return;
    s->woken = 1;
    /* Cannot fail: the pipe holds at most this one byte. */
    while (write(s->wake_write, "", 1) < 0 && errno == EINTR)
        ;
}

/* Returns whether a size exceeds its limit, or has grown on since. */
static int alarms(mw_sampler *s) {
    const mw_follower *f = &s->follower;
    mw_watch *w = s->watches;
    int alarm = mw_watch_alarms(&w[TOTAL],
                                f->total > f->largest ? f->total : f->largest);
    alarm |= mw_watch_alarms(&w[PROCESS], f->largest);
    alarm |= mw_watch_alarms(&w[FOOTPRINT], f->footprint);
    return alarm | mw_watch_alarms(&w[OWN], f->own);
}

/* Returns whether a size is near its limit, so that ticks come more often. */
static int is_near(mw_sampler *s, int64_t time) {
    const mw_follower *f = &s->follower;
    mw_watch *w = s->watches;
    /* Above the limit only a sum tells how much of the total is shared. */
    uint64_t pss = f->total <= w[PSS].limit ? f->total : s->pss_sum;
    int near = mw_watch_is_near(&w[TOTAL], f->total, time, s->interval);
    near |= mw_watch_is_near(&w[PROCESS], f->largest_now, time, s->interval);
    near |= mw_watch_is_near(&w[FOOTPRINT], f->footprint, time, s->interval);
    near |= mw_watch_is_near(&w[OWN], f->own, time, s->interval);
    near |= mw_watch_is_near(&w[PSS], pss, time, s->interval);
    return near | mw_pss_is_urgent(s->pss);
}

/* Hands the observations to the reader. Returns whether the reader lags. */
static int publish(mw_sampler *s, int64_t time, int alarm, int error) {
    mw_queue *reported = &s->follower.reported;
    alarm |= alarms(s);
    pthread_mutex_lock(&s->lock);
    if (!error)
        error = mw_queue_move(&s->unread, reported);
    if (error) {
        s->error = error;
        reported->count = reported->text_count = 0;
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

static int report(mw_sampler *s, const mw_observation *what) {
    mw_observation *record = mw_queue_add(&s->follower.reported);
    if (!record)
        return -ENOMEM;
    *record = *what;
    return 0;
}

/* Wakes the reader when the total grows on from now, for limits of another kind
   that are exceeded. */
static void watch_growth(mw_sampler *s) {
    mw_watch *total = &s->watches[TOTAL];
    if (!total->alarm)
        total->alarm = mw_watch_grown(s->follower.total);
}

/* Begins and reports sums of proportional set sizes. Sets `*alarm` when two in
   a row exceed the limit: one may be wrong. */
static int sum_pss(mw_sampler *s, int64_t time, int *alarm) {
    mw_observation sum;
    mw_pss_offer(s->pss, time, s->follower.total, &s->follower.table);
    if (!mw_pss_take(s->pss, &sum))
        return 0;
    /* An upper bound does not prove that the limit is exceeded. */
    uint64_t agreed = sum.value < s->pss_sum ? sum.value : s->pss_sum;
    if (!sum.second && mw_watch_alarms(&s->watches[PSS], agreed)) {
        *alarm = 1;
        watch_growth(s);
    }
    s->pss_sum = sum.second ? agreed : sum.value;
    return report(s, &sum);
}

/* Reads and reports available memory, where that is due. */
static int read_available(mw_sampler *s, int64_t time, int *alarm) {
    mw_observation found = {.kind = MW_AVAILABLE, .time = time};
    int in_group;
    if (time < s->next_available)
        return 0;
    s->next_available = time + AVAILABLE_GAP;
    if (mw_platform_available(s->platform, s->min_available, &found.value,
                              &in_group))
        return 0;
    int is_low = found.value < s->min_available;
    int was_low = s->least_available && s->least_available < s->min_available;
    if (!is_low && s->least_available &&
        found.value + AVAILABLE_STEP > s->least_available)
        return 0;
    if (is_low && !was_low) {
        *alarm = 1;
        watch_growth(s);
    }
    s->least_available = found.value ? found.value : 1;
    found.valid = in_group ? MW_IN_GROUP : 0;
    return report(s, &found);
}

static int has_limits(const mw_sampler *s) {
    int has_any = s->min_available != 0;
    for (int i = 0; i < WATCHES; i++)
        has_any |= s->watches[i].limit != 0;
    return has_any;
}

/* Makes one tick and hands its observations to the reader. Returns whether the
   reader lags. */
static int make_tick(mw_sampler *s, int64_t time, uint32_t flags, int closing) {
    int64_t before = s->has_limits ? mw_thread_cpu_time() : 0;
    int error = mw_follow_tick(&s->follower, time, flags, s->skipped, closing);
    int alarm = 0;
    s->skipped = 0;
    if (!error && s->pss)
        error = sum_pss(s, time, &alarm);
    if (!error && s->min_available)
        error = read_available(s, time, &alarm);
    if (s->has_limits) {
        s->is_near = is_near(s, time);
        s->tick_cost = mw_thread_cpu_time() - before;
    }
    return publish(s, time, alarm, error);
}

/* Returns whether there is CPU time left to handle events outside a tick. */
static int has_credit(mw_sampler *s) {
    mw_credit_add(&s->credit, mw_now(), EVENT_SHARE, MOST_CREDIT);
    return s->credit.left > 0;
}

/* Handles events between two ticks. Returns whether the reader lags. */
static int handle_events(mw_sampler *s, int64_t time) {
    int64_t before = mw_thread_cpu_time();
    int lags = publish(s, time, 0, mw_follow_events(&s->follower, time));
    s->credit.left -= mw_thread_cpu_time() - before;
    return lags;
}

static int64_t first_gap(const mw_sampler *s) {
    return FIRST_GAP < s->interval ? FIRST_GAP : s->interval;
}

/* Returns the gap from the tick that was due at `deadline` to the next one. */
static int64_t next_gap(const mw_sampler *s, int64_t deadline, int64_t gap) {
    if (deadline - s->first_tick < s->burst)
        return first_gap(s);
    if (s->is_near) {
        int64_t fair = s->tick_cost * NEAR_SHARE;
        int64_t near = fair > first_gap(s) ? fair : first_gap(s);
        return near < s->interval ? near : s->interval;
    }
    return gap * 2 < s->interval ? gap * 2 : s->interval;
}

/* Returns the flag of a tick that came `gap` after the one before it. */
static uint32_t flag_of(const mw_sampler *s, int64_t gap) {
    return gap < s->interval ? MW_TICK_EXTRA : 0;
}

static void *run(void *argument) {
    mw_sampler *s = argument;
    int64_t gap = first_gap(s);
    int64_t deadline = s->first_tick + gap;
    int lags = 0;
    /* The end of the root is waited for even if the first tick has failed. */
    int root_ended = s->follower.root_ended;
    int error = mw_platform_enter_thread(s->platform, s->follower.root_pid);
    if (s->error)
        error = s->error;

    while (!root_ended) {
        mw_platform_wake_on_events(s->platform,
                                   !error && !lags && has_credit(s));
        /* After an error only the end of the job is waited for. */
        int waited =
            mw_platform_wait(s->platform, error ? INT64_MAX : deadline);
        if (waited & MW_WAITED_STOP)
            break;
        int ends = (waited & MW_WAITED_ROOT_EXIT) != 0;
        int64_t time = mw_now();
        if (waited == MW_WAITED_EVENTS && time < deadline) {
            lags = handle_events(s, time);
            error = s->error;
            continue;
        }
        uint32_t flags = flag_of(s, gap);
        if (ends)
            flags = MW_TICK_EXTRA;
        else if (time - deadline > s->interval / 2)
            flags |= MW_TICK_LATE;

        if (lags && !ends) {
            s->skipped += !(flags & MW_TICK_EXTRA);
            pthread_mutex_lock(&s->lock);
            lags = s->unread.count > MOST_UNREAD;
            pthread_mutex_unlock(&s->lock);
        } else if (!error) {
            lags = make_tick(s, time, flags, ends);
            error = s->error;
        }

        root_ended = s->follower.root_ended || ends;

        gap = next_gap(s, deadline, gap);
        deadline += gap;
        int64_t now = mw_now();
        if (now >= deadline) {
            /* Deadlines that passed meanwhile cannot be met any more. */
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

/* Returns the limit that is reached first of two, of which 0 is none. */
static uint64_t lower_limit(uint64_t one, uint64_t other) {
    return one && (!other || one < other) ? one : other;
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
    /* Sums tell whether either is exceeded: both are at most the RSS. */
    const uint64_t limit_on_sums =
        lower_limit(options->pss_limit, options->footprint_limit);
    const uint64_t limits[WATCHES] = {
        [TOTAL] = options->total_limit, [PROCESS] = options->process_limit,
        [PSS] = options->pss_limit,     [FOOTPRINT] = options->footprint_limit,
        [OWN] = limit_on_sums,
    };
    for (int i = 0; i < WATCHES; i++)
        s->watches[i] = (mw_watch){.limit = limits[i], .alarm = limits[i]};
    s->min_available = options->min_available;
    s->has_limits = has_limits(s);
    s->follower.adopter_pid = options->adopter_pid;
    s->follower.has_other_children = options->has_other_children;
    pthread_mutex_init(&s->lock, NULL);
    s->wake_read = s->wake_write = -1;
    int error = open_pipe(&s->wake_read, &s->wake_write);
    if (!error)
        error = mw_platform_open(options, &s->platform);
    s->follower.platform = s->platform;
    mw_tmpfs_begin(&s->follower.tmpfs, options->tmpfs, options->tmpfs_count);
    s->follower.search.limit = options->footprint_limit;
    if (!error && options->pss != MW_PSS_OFF)
        error = mw_pss_new(s->platform, options->pss, &s->pss);
    mw_pss_set_limit(s->pss, limit_on_sums);
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
    /* The changes of a tick that failed are lost, so no tick can follow it. */
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
    s->first_tick = mw_now();
    s->next_wake = s->first_tick + s->batch;
    make_tick(s, s->first_tick, flag_of(s, first_gap(s)), 0);
    int error = mw_start_thread(&s->thread, run, s);
    s->has_thread = !error;
    return error;
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

void mw_sampler_wake(mw_sampler *s) {
    pthread_mutex_lock(&s->lock);
    wake(s);
    pthread_mutex_unlock(&s->lock);
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
    int result = mw_platform_signal_job(s->platform, number, ended, &found);
    *count = found.count;
    for (size_t i = 0; i < found.count && i < capacity; i++)
        out[i] = found.pid[i];
    free(found.pid);
    return result;
}

static void note_written(void *files, const mw_written *file) {
    mw_tmpfs_note(files, file);
}

void mw_sampler_resident(const mw_sampler *s, const int32_t *pids, size_t count,
                         uint64_t *sum) {
    /* Each file once, and all of it. */
    mw_tmpfs files = {0};
    *sum = 0;
    for (size_t i = 0; i < count; i++) {
        mw_memory memory;
        if (!mw_platform_memory(s->platform, pids[i], &memory))
            *sum += memory.rss;
        if (s->watches[FOOTPRINT].limit)
            mw_platform_written(s->platform, pids[i], note_written, &files);
    }
    *sum += mw_tmpfs_written(&files);
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
