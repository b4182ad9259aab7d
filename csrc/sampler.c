/*
 * The sampling thread: ticks on absolute deadlines, tells what changed since
 * the tick before, and never waits for the reader. Knows no platform.
 */
#include "memwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform.h"
#include "queue.h"
#include "table.h"

/* The first ticks come this close, then twice as far apart each time until the
   interval is reached: a command shorter than the interval is seen growing. */
static const int64_t FIRST_GAP = 1000000;

/* A process is inspected this long after its image was first seen, then each
   time its age has doubled, so that the last inspection lies in the second half
   of its life; and once a second while its memory changes. An inspection costs
   as much as ten looks. */
static const int64_t FIRST_INSPECTION = 16000000;
static const int64_t LIVELY_INSPECTION = 1000000000;

/* A reader this far behind (48 MiB) makes the sampler skip ticks. */
static const size_t MOST_UNREAD = 1 << 20;

/* Longest text of an image: the kernel's limit for one argument (128 KiB), and
   the path and the name before it. */
enum { IMAGE_TEXT = (128 << 10) + 4096 + 64 };

/* How often the command line of a process in the middle of execve is looked
   for again. */
enum { IMAGE_RETRIES = 3 };

struct mw_sampler {
    mw_platform *platform;
    mw_table table;
    mw_pids found;
    mw_queue tick; /* what this tick says; the ticking thread's own */
    uint64_t last_serial;
    uint64_t skipped; /* ticks since the last one that was made */
    uint64_t unreadable;
    int64_t interval;
    int64_t batch;
    int64_t first_tick;
    int64_t next_wake; /* of the reader, at the latest */
    int32_t root_pid;
    int32_t adopter_pid;
    int has_other_children;
    int root_ended;

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

static mw_observation *observe(mw_sampler *s, int64_t time, uint32_t kind,
                               const mw_slot *slot) {
    mw_observation *record = mw_queue_add(&s->tick);
    if (record) {
        record->time = time;
        record->kind = kind;
        if (slot) {
            record->process = slot->serial;
            record->pid = slot->pid;
        }
    }
    return record;
}

static void schedule_inspection(mw_slot *slot, int64_t time) {
    slot->next_inspection = time + slot->inspection_gap;
    slot->inspection_gap *= 2;
}

static mw_observation *report_rss(mw_sampler *s, mw_slot *slot, int64_t time,
                                  uint64_t rss) {
    mw_observation *record = observe(s, time, MW_MEMORY, slot);
    if (record) {
        record->value = slot->rss = rss;
        record->valid = MW_HAS_RSS;
        slot->has_rss = 1;
        if (slot->next_inspection > time + LIVELY_INSPECTION) {
            slot->next_inspection = time + LIVELY_INSPECTION;
            slot->inspection_gap = LIVELY_INSPECTION;
        }
    }
    return record;
}

/* Reports the program that runs in a process, or what was missing of it. */
static int report_image(mw_sampler *s, mw_slot *slot, int64_t time, int again) {
    char *text = mw_queue_text(&s->tick, IMAGE_TEXT);
    if (!text)
        return -ENOMEM;
    uint32_t valid = 0;
    size_t length =
        mw_platform_image(s->platform, slot->handle, text, IMAGE_TEXT, &valid);
    int complete = (valid & (MW_HAS_ARGV | MW_INHERITED)) != 0;
    if (!length || (again && !complete))
        return 0;
    mw_observation *record = observe(s, time, MW_IMAGE, slot);
    if (!record)
        return -ENOMEM;
    record->value = s->tick.text_count;
    record->second = length;
    record->valid = valid | (again ? MW_SAME_IMAGE : 0);
    s->tick.text_count += length;
    if (complete)
        slot->image_retries = 0;
    return 0;
}

static int begin_image(mw_sampler *s, mw_slot *slot, int64_t time) {
    slot->watermark = 0;
    slot->has_rss = 0;
    slot->image_retries = IMAGE_RETRIES;
    slot->inspection_gap = FIRST_INSPECTION;
    schedule_inspection(slot, time);
    return report_image(s, slot, time, 0);
}

/* A short process may be gone when its turn in this tick comes. Its children
   are added to those being gone through. */
static int first_look(mw_sampler *s, mw_slot *slot, int64_t time) {
    mw_reading reading = {0};
    int error =
        mw_platform_poll(s->platform, slot->handle, time, &reading, &s->found);
    if (error || !(reading.valid & MW_HAS_RSS))
        return error;
    if (reading.new_image)
        error = begin_image(s, slot, time);
    if (error)
        return error;
    return report_rss(s, slot, time, reading.rss) ? 0 : -ENOMEM;
}

/* Follows every process of `found` that is not followed yet. */
static int adopt_found(mw_sampler *s, int64_t time) {
    for (size_t i = 0; i < s->found.count; i++) {
        int32_t pid = s->found.pid[i];
        if (mw_table_find(&s->table, pid) >= 0)
            continue;
        mw_handle *handle;
        mw_identity identity = {0};
        int error = mw_platform_attach(s->platform, pid, &handle, &identity);
        if (error)
            return error;
        if (!handle)
            continue;
        mw_slot *slot;
        error = mw_table_add(&s->table, pid, &slot);
        if (error) {
            mw_platform_detach(s->platform, handle);
            return error;
        }
        slot->handle = handle;
        slot->serial = ++s->last_serial;
        slot->foreign = s->has_other_children && pid != s->root_pid &&
                        identity.ppid == s->adopter_pid;
        mw_observation *record = observe(s, time, MW_STARTED, slot);
        if (!record)
            return -ENOMEM;
        record->ppid = identity.ppid;
        record->valid = identity.valid & MW_HAS_START;
        record->second = (uint64_t)identity.start;
        ptrdiff_t parent = mw_table_find(&s->table, identity.ppid);
        if (parent >= 0) {
            record->value = s->table.slots[parent].serial;
            record->valid |= MW_HAS_PARENT;
        }
        error = begin_image(s, slot, time);
        if (!error)
            error = first_look(s, slot, time);
        if (error)
            return error;
    }
    s->found.count = 0;
    return 0;
}

/* Takes the wait status of a zombie that is our child, so that it goes away. */
static int reap(mw_sampler *s, const mw_slot *slot, int *status) {
    return !slot->foreign &&
           mw_platform_reap(s->platform, slot->handle, status);
}

static int report_exit(mw_sampler *s, mw_slot *slot, int64_t time,
                       enum mw_life life) {
    mw_observation *record = observe(s, time, MW_EXITED, slot);
    if (!record)
        return -ENOMEM;
    int status;
    if (life == MW_ENDED && reap(s, slot, &status)) {
        record->value = (uint64_t)status;
        record->valid = MW_HAS_STATUS;
    }
    slot->ended = 1;
    slot->rss = 0;
    if (slot->pid == s->root_pid)
        s->root_ended = 1;
    return 0;
}

/* Reports memory when it changed, or when an inspection is due. */
static int report_memory(mw_sampler *s, mw_slot *slot, int64_t time,
                         const mw_reading *reading) {
    mw_inspection seen = {0};
    if (time >= slot->next_inspection) {
        int error = mw_platform_inspect(s->platform, slot->handle, &seen);
        if (error)
            return error;
        schedule_inspection(slot, time);
        if (seen.new_image) {
            error = begin_image(s, slot, time);
            if (error)
                return error;
        }
    }
    int raised =
        (seen.valid & MW_HAS_WATERMARK) && seen.watermark > slot->watermark;
    if (slot->has_rss && slot->rss == reading->rss && !raised)
        return 0;
    mw_observation *record = report_rss(s, slot, time, reading->rss);
    if (!record)
        return -ENOMEM;
    if (raised) {
        record->second = slot->watermark = seen.watermark;
        record->valid |= MW_HAS_WATERMARK;
    }
    return 0;
}

/* One process in one tick. Sets *vanished when its slot can go. */
static int visit(mw_sampler *s, size_t index, int64_t time, uint32_t *flags,
                 int *vanished) {
    mw_slot *slot = &s->table.slots[index];
    mw_reading reading = {0};
    int error =
        mw_platform_poll(s->platform, slot->handle, time, &reading, &s->found);
    if (error)
        return error;
    *vanished = reading.life == MW_VANISHED;
    if (slot->ended) {
        /* A zombie may have become ours: an orphan nobody waited for. */
        int status;
        if (reading.life == MW_ENDED)
            reap(s, slot, &status);
        return 0;
    }
    if (reading.life != MW_ALIVE)
        return report_exit(s, slot, time, reading.life);
    if (reading.new_image)
        error = begin_image(s, slot, time);
    else if (slot->image_retries) {
        slot->image_retries--;
        error = report_image(s, slot, time, 1);
    }
    if (error)
        return error;
    if (reading.valid & MW_HAS_RSS)
        return report_memory(s, slot, time, &reading);
    *flags |= MW_TICK_PARTIAL;
    if (!slot->unreadable) {
        slot->unreadable = 1;
        s->unreadable++;
    }
    return 0;
}

static int is_member(const void *table, int32_t pid) {
    return mw_table_find(table, pid) >= 0;
}

static int make_tick(mw_sampler *s, int64_t time, uint32_t flags) {
    s->found.count = 0;
    int error =
        mw_platform_discover(s->platform, is_member, &s->table, &s->found);
    int first = s->last_serial == 0;
    if (!error && first)
        error = mw_pids_add(&s->found, s->root_pid);
    if (!error)
        error = adopt_found(s, time);
    if (!error && first && mw_table_find(&s->table, s->root_pid) < 0)
        s->root_ended = 1;

    uint64_t total = 0, live = 0;
    /* Children found on the way are appended, and so visited in this tick. */
    for (size_t i = 0; !error && i < s->table.count;) {
        int vanished = 0;
        error = visit(s, i, time, &flags, &vanished);
        if (error)
            break;
        mw_slot *slot = &s->table.slots[i];
        if (!slot->ended) {
            live++;
            total += slot->rss;
        }
        if (s->found.count)
            error = adopt_found(s, time);
        if (vanished) {
            mw_platform_detach(s->platform, s->table.slots[i].handle);
            mw_table_remove(&s->table, i);
        } else {
            i++;
        }
    }
    if (error)
        return error;

    mw_observation *record = observe(s, time, MW_TICK, NULL);
    if (!record)
        return -ENOMEM;
    record->process = s->skipped;
    record->value = total;
    record->second = live;
    record->valid = flags | MW_HAS_RSS;
    s->skipped = 0;
    return 0;
}

/* Wakes the reader; call with the lock held. */
static void wake(mw_sampler *s) {
    if (s->woken)
        return;
    s->woken = 1;
    /* Cannot fail: the pipe holds at most this one byte. */
    while (write(s->wake_write, "", 1) < 0 && errno == EINTR)
        ;
}

/* Makes one tick and hands it over. Returns whether the reader lags. */
static int tick_and_publish(mw_sampler *s, int64_t time, uint32_t flags) {
    int error = make_tick(s, time, flags);
    pthread_mutex_lock(&s->lock);
    if (!error)
        error = mw_queue_move(&s->unread, &s->tick);
    if (error) {
        s->error = error;
        s->tick.count = s->tick.text_count = 0;
    }
    int lags = s->unread.count > MOST_UNREAD;
    mw_platform_stats(s->platform, &s->stats);
    s->stats.unreadable = s->unreadable;
    s->stats.error = s->error;
    if (time >= s->next_wake || s->unread.count * 2 > s->unread.capacity) {
        wake(s);
        s->next_wake = time + s->batch;
    }
    pthread_mutex_unlock(&s->lock);
    return lags;
}

static int64_t first_gap(const mw_sampler *s) {
    return FIRST_GAP < s->interval ? FIRST_GAP : s->interval;
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
    int error = mw_platform_enter_thread(s->platform, s->root_pid);
    if (s->error)
        error = s->error;

    while (!s->root_ended) {
        /* After an error only the end of the job is waited for. */
        int event = mw_platform_wait(s->platform, error ? INT64_MAX : deadline);
        if (event & MW_EVENT_STOP)
            break;
        int64_t time = mw_now();
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
            lags = tick_and_publish(s, time, flags);
            error = s->error;
        }

        s->root_ended |= (event & MW_EVENT_ROOT_EXIT) != 0;

        gap = gap * 2 < s->interval ? gap * 2 : s->interval;
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
    s->adopter_pid = options->adopter_pid;
    s->has_other_children = options->has_other_children;
    pthread_mutex_init(&s->lock, NULL);
    s->wake_read = s->wake_write = -1;
    int error = open_pipe(&s->wake_read, &s->wake_write);
    if (!error)
        error = mw_platform_open(options, &s->platform);
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
    s->root_pid = root_pid;
    tick_and_publish(s, time, 0);
    s->ended = s->root_ended;
    return s->error;
}

int mw_sampler_start(mw_sampler *s, int32_t root_pid) {
    if (s->has_thread)
        return -EBUSY;
    s->root_pid = root_pid;
    /* The first tick does not wait for a thread: a command may end within the
       time that it takes to make one. */
    s->first_tick = mw_now();
    s->next_wake = s->first_tick + s->batch;
    tick_and_publish(s, s->first_tick, regular(s, first_gap(s)));
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
    for (size_t i = 0; i < s->table.count; i++)
        mw_platform_detach(s->platform, s->table.slots[i].handle);
    if (s->platform)
        mw_platform_close(s->platform);
    mw_table_free(&s->table);
    mw_queue_free(&s->tick);
    mw_queue_free(&s->unread);
    free(s->found.pid);
    if (s->wake_read >= 0)
        close(s->wake_read);
    if (s->wake_write >= 0)
        close(s->wake_write);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
