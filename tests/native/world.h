/*
 * A machine made up for the tests of follow.c: processes that do what the test
 * says, when it says so, read through platform.h; and the observations of them,
 * put together by process.
 *
 * It behaves as the kernel does: a zombie shows its name and no memory, a
 * handle stays with its process when the pid is reused, start times are cut to
 * 10 ms, and in the middle of execve there is no command line.
 */
#ifndef MW_TEST_WORLD_H
#define MW_TEST_WORLD_H

#include <stdarg.h>

#include "follow.h"
#include "stream.h"

static const int64_t MS = 1000000;
static const int64_t CLOCK_TICK = 10000000;

enum {
    ADOPTER = 7,
    ROOT = 100,
    WORLD_SIZE = 64,
    MOST_PROGRAMS = 16,
    MOST_TEXT = 64
};

/* --- processes --- */

typedef struct {
    int64_t since;
    uint64_t peak;
    uint64_t footprint_peak;
    char name[16];
    char text[MOST_TEXT];
    size_t length;
    uint64_t exec_id; /* a fork has its parent's */
} program;

typedef struct process {
    int32_t pid, ppid;
    struct process *parent; /* the process that forked it */
    int64_t start;
    int64_t end;
    enum mw_life life;
    int status;
    uint64_t rss, watermark;
    uint64_t footprint, footprint_peak;
    program programs[MOST_PROGRAMS]; /* the first is its parent's */
    unsigned count;
    unsigned poll_id; /* what a poll can tell an image by */
    int in_execve;    /* neither memory's text nor command line are there */
    int unreadable;   /* the memory cannot be read */
    int vforked;      /* its memory is the parent's */
    int first_ended;  /* its first thread, not the others */
} process;

struct mw_platform {
    char nothing;
};

struct mw_handle {
    process *process;
    unsigned poll_id; /* 0: not known yet */
    unsigned count;   /* images, at the last inspection; 0: not known yet */
    char name[16];
};

static struct {
    mw_platform platform;
    int64_t now;
    uint32_t sources;
    int lost;        /* ticks left in which events are incomplete */
    int cover_forks; /* events cover every fork: poll lists no children */
    int footprints;  /* poll gives them, and the peak of a zombie's */
    process processes[WORLD_SIZE];
    size_t count;
    uint64_t exec_ids;     /* how many were given out */
    mw_event_list events;  /* to be fetched: those with a time, in its order */
    mw_event_list records; /* to be fetched: those without */
    long handles;          /* open ones */
    void (*meanwhile)(void); /* what happens while the follower works */
    /* Files in memory, where there are any. */
    int (*written)(int32_t pid, void (*found)(void *, const mw_written *),
                   void *context);
    enum mw_written_state (*written_again)(mw_written *file);
} world;

static inline void meanwhile(void) {
    if (world.meanwhile)
        world.meanwhile();
}

int64_t mw_now(void) { return world.now; }

/* Returns the process that has a pid now, or NULL. */
static inline process *process_of(int32_t pid) {
    for (size_t i = world.count; i-- > 0;)
        if (world.processes[i].pid == pid &&
            world.processes[i].life != MW_VANISHED)
            return &world.processes[i];
    return NULL;
}

static inline const program *runs(const process *p) {
    return &p->programs[p->count - 1];
}

/* Sets what a process runs: one word for each argument, the first is the
   name. */
static inline void set_program(process *p, const char *words) {
    CHECK(p->count < MOST_PROGRAMS);
    program *made = &p->programs[p->count++];
    memset(made, 0, sizeof *made);
    made->since = world.now;
    made->exec_id = ++world.exec_ids;
    size_t name = strcspn(words, " ");
    CHECK(name < sizeof made->name && 2 * strlen(words) + 8 < MOST_TEXT);
    memcpy(made->name, words, name);
    made->length =
        (size_t)snprintf(made->text, MOST_TEXT, "%.*s%c/bin/%.*s%c%s%c",
                         (int)name, words, 0, (int)name, words, 0, words, 0);
    for (size_t i = 2 * name + 7; i < made->length; i++)
        if (made->text[i] == ' ')
            made->text[i] = '\0';
}

static inline process *born(int32_t pid, int32_t ppid) {
    CHECK(world.count < WORLD_SIZE && !process_of(pid));
    process *made = &world.processes[world.count++];
    memset(made, 0, sizeof *made);
    made->pid = pid;
    made->ppid = ppid;
    made->start = world.now;
    made->parent = process_of(ppid);
    made->rss = made->watermark = 10;
    made->footprint = made->footprint_peak = 10;
    made->poll_id = made->parent ? made->parent->poll_id : 1;
    if (!made->parent) {
        set_program(made, "test");
        return made;
    }
    made->programs[0] = *runs(made->parent);
    made->programs[0].since = world.now;
    made->programs[0].peak = made->programs[0].footprint_peak = 0;
    made->count = 1;
    return made;
}

static inline void holds(process *p, uint64_t rss) {
    p->rss = rss;
    if (rss > p->watermark)
        p->watermark = rss;
}

static inline void is_charged(process *p, uint64_t footprint) {
    p->footprint = footprint;
    if (footprint > p->footprint_peak)
        p->footprint_peak = footprint;
}

/* Keeps the peaks of the image that ends. */
static inline void keep_peaks(process *p) {
    p->programs[p->count - 1].peak = p->watermark;
    p->programs[p->count - 1].footprint_peak = p->footprint_peak;
}

/* Executes something that a poll can tell from what ran before. */
static inline void executes(process *p, const char *words) {
    keep_peaks(p);
    set_program(p, words);
    p->poll_id++;
    p->rss = p->watermark = 1;
    p->footprint = p->footprint_peak = 1;
}

static inline void ends(process *p, int status) {
    keep_peaks(p);
    p->life = MW_ENDED;
    p->status = status;
    p->end = world.now;
    p->rss = p->footprint = 0;
    for (size_t i = 0; i < world.count; i++)
        if (world.processes[i].ppid == p->pid &&
            world.processes[i].life != MW_VANISHED)
            world.processes[i].ppid = ADOPTER;
}

static inline void vanishes(process *p) { p->life = MW_VANISHED; }

/* --- events --- */

static inline mw_event *emit(mw_event_list *list, uint32_t kind, int32_t pid,
                             const char *text, size_t length) {
    mw_event *made = mw_event_add(list, text, length);
    CHECK(made);
    made->time = world.now;
    made->kind = kind;
    made->pid = made->tid = pid;
    return made;
}

static inline void emit_fork(int32_t pid, int32_t ppid) {
    emit(&world.events, MW_EVENT_FORK, pid, NULL, 0)->ppid = ppid;
}

static inline void emit_exec(int32_t pid, const char *name) {
    emit(&world.events, MW_EVENT_EXEC, pid, name, strlen(name));
}

/* Emits an exit. Status -1: the source does not have it. */
static inline void emit_exit(int32_t pid, int status) {
    mw_event *made = emit(&world.events, MW_EVENT_EXIT, pid, NULL, 0);
    if (status >= 0) {
        made->status = status;
        made->valid = MW_HAS_STATUS;
    }
}

/* Emits the exit record of the first thread; the caller may change the tid. */
static inline mw_event *emit_record(const process *p, int64_t user) {
    const program *last = runs(p);
    mw_event *made = emit(&world.records, MW_EVENT_RECORD, p->pid, last->name,
                          strlen(last->name));
    made->ppid = p->ppid;
    made->elapsed = world.now - p->start;
    made->peak = p->watermark;
    made->user = user;
    made->system = 1;
    made->read_bytes = 512;
    made->status = p->status;
    made->valid = MW_HAS_WATERMARK | MW_HAS_CPU | MW_HAS_IO | MW_HAS_STATUS |
                  (p->count == 1 ? MW_INHERITED : 0);
    return made;
}

static inline mw_event *emit_hook(const process *p, uint32_t kind) {
    const program *last = runs(p);
    /* Of a fork that is about to call execve only the identity is read. */
    int fresh = kind == MW_EVENT_EXECUTING && p->count == 1;
    mw_event *made =
        emit(&world.events, kind, p->pid, last->text, fresh ? 0 : last->length);
    made->ppid = p->ppid;
    made->start = p->start / CLOCK_TICK * CLOCK_TICK;
    made->valid = MW_HAS_START | (p->count == 1 ? MW_INHERITED : 0);
    if (fresh)
        return made;
    made->peak = p->watermark;
    made->user = 2;
    made->system = 1;
    made->exec_id = runs(p)->exec_id;
    made->valid |= MW_HAS_WATERMARK | MW_HAS_CPU | MW_HAS_EXE | MW_HAS_ARGV;
    return made;
}

static inline void emit_executing(const process *p) {
    emit_hook(p, MW_EVENT_EXECUTING);
}

static inline void emit_exiting(const process *p, int status) {
    mw_event *made = emit_hook(p, MW_EVENT_EXITING);
    made->status = status;
    made->valid |= MW_HAS_STATUS;
}

/* --- platform.h --- */

uint32_t mw_platform_sources(const mw_platform *platform) {
    (void)platform;
    uint32_t events = MW_CONNECTOR | MW_PERF;
    return world.lost ? world.sources & ~events : world.sources;
}

static inline void move_events(mw_event_list *from, mw_event_list *to) {
    for (size_t i = 0; i < from->count; i++) {
        const mw_event *item = &from->items[i];
        mw_event *copy = mw_event_copy(to, item, from->text + item->text);
        CHECK(copy);
        if (copy->kind == MW_EVENT_RECORD)
            copy->time = world.now;
    }
    mw_event_list_clear(from);
}

int mw_platform_events(mw_platform *platform, int closing, mw_event_list *out) {
    (void)platform, (void)closing;
    move_events(&world.events, out);
    meanwhile();
    move_events(&world.records, out);
    return 0;
}

int mw_platform_discover(mw_platform *platform,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found) {
    (void)platform, (void)is_member, (void)members;
    if (world.lost)
        world.lost--;
    meanwhile();
    for (size_t i = 0; i < world.count; i++)
        if (world.processes[i].ppid == ADOPTER &&
            world.processes[i].life != MW_VANISHED)
            CHECK(!mw_pids_add(found, world.processes[i].pid));
    return 0;
}

int mw_platform_attach(mw_platform *platform, int32_t pid, mw_handle **out,
                       mw_identity *identity) {
    (void)platform;
    *out = NULL;
    meanwhile();
    process *p = process_of(pid);
    if (!p)
        return 0;
    *out = calloc(1, sizeof **out);
    CHECK(*out);
    world.handles++;
    (*out)->process = p;
    if (p->life == MW_ALIVE && !p->in_execve)
        (*out)->poll_id = p->poll_id;
    memcpy((*out)->name, runs(p)->name, sizeof(*out)->name);
    identity->start = p->start / CLOCK_TICK * CLOCK_TICK;
    identity->ppid = p->ppid;
    identity->valid = MW_HAS_START;
    return 0;
}

void mw_platform_detach(mw_platform *platform, mw_handle *handle) {
    (void)platform;
    world.handles--;
    free(handle);
}

int mw_platform_poll(mw_platform *platform, mw_handle *handle, int64_t now,
                     mw_reading *out, mw_pids *found) {
    (void)platform, (void)now;
    meanwhile();
    const process *p = handle->process;
    out->life = p->life;
    if (p->life != MW_ALIVE) {
        if (world.footprints && !p->unreadable && p->life == MW_ENDED) {
            out->footprint_peak = p->footprint_peak;
            out->valid = MW_HAS_WATERMARK;
        }
        return 0;
    }
    if (!p->unreadable) {
        out->rss = p->rss;
        out->valid = MW_HAS_RSS;
        if (world.footprints) {
            out->footprint = p->footprint;
            out->footprint_peak = p->footprint_peak;
            out->valid |= MW_HAS_FOOTPRINT | MW_HAS_WATERMARK;
        }
    }
    if (p->in_execve) {
        if (handle->poll_id)
            handle->poll_id = UINT32_MAX;
    } else if (handle->poll_id != p->poll_id) {
        out->new_image = handle->poll_id != 0;
        handle->poll_id = p->poll_id;
        handle->count = 0;
    }
    if (world.cover_forks && !world.lost)
        return 0;
    for (size_t i = 0; i < world.count; i++)
        if (world.processes[i].ppid == p->pid &&
            world.processes[i].life != MW_VANISHED)
            CHECK(!mw_pids_add(found, world.processes[i].pid));
    return 0;
}

int mw_platform_inspect(mw_platform *platform, mw_handle *handle,
                        mw_inspection *out) {
    (void)platform;
    const process *p = handle->process;
    if (p->life != MW_ALIVE || p->in_execve)
        return 0;
    out->watermark = p->watermark;
    out->valid = MW_HAS_WATERMARK;
    out->new_image = handle->count && handle->count != p->count;
    handle->count = p->count;
    return 0;
}

void mw_platform_image(mw_platform *platform, mw_handle *handle, char *text,
                       size_t capacity, mw_image *out) {
    (void)platform;
    meanwhile();
    const process *p = handle->process;
    const program *now = runs(p);
    const char *name = handle->name;
    *out = (mw_image){0};
    CHECK(capacity >= MOST_TEXT);
    if (p->life != MW_VANISHED) {
        name = now->name;
        if (p->count == 1)
            out->valid |= MW_INHERITED;
        if (p->life == MW_ALIVE && !p->in_execve) {
            handle->poll_id = p->poll_id;
            handle->count = p->count;
            out->exec_id = runs(p)->exec_id;
            out->valid |= MW_HAS_EXE | MW_HAS_ARGV;
            out->length = now->length;
            handle->name[0] = '\0';
            memcpy(text, now->text, now->length);
            return;
        }
    }
    /* Only a name is left, or is there already. */
    size_t length = strlen(name);
    memcpy(text, name, length + 1);
    text[length + 1] = '\0';
    handle->name[0] = '\0';
    out->length = length ? length + 2 : 0;
}

int mw_platform_written(const mw_platform *platform, int32_t pid,
                        void (*found)(void *context, const mw_written *file),
                        void *context) {
    (void)platform;
    return world.written ? world.written(pid, found, context) : -ENOTSUP;
}

enum mw_written_state mw_platform_written_again(const mw_platform *platform,
                                                mw_written *file) {
    (void)platform;
    return world.written_again ? world.written_again(file) : MW_WRITTEN_GONE;
}

uint64_t mw_platform_roughness(const mw_platform *platform) {
    (void)platform;
    return 0;
}

uint64_t mw_platform_page(const mw_platform *platform) {
    (void)platform;
    return 4096;
}

uint64_t mw_platform_huge_faults(const mw_platform *platform) {
    (void)platform;
    return 0;
}

int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other) {
    (void)platform;
    const process *p = process_of(pid);
    return p && p->ppid == other && p->vforked;
}

int mw_platform_reap(mw_platform *platform, mw_handle *handle, int *status,
                     uint64_t *peak) {
    *peak = 0;
    (void)platform;
    if (handle->process->ppid != ADOPTER || handle->process->life != MW_ENDED)
        return 0;
    *status = handle->process->status;
    vanishes(handle->process);
    return 1;
}

/* --- what was observed --- */

enum { UNSEEN, SAMPLED, WATERMARK, EXACT };

typedef struct {
    int64_t since;
    uint32_t valid;
    uint64_t peak;
    uint64_t footprint_peak;
    int source;
    int footprint_source;
    char text[MOST_TEXT];
    size_t length;
} seen_image;

typedef struct {
    int32_t pid, ppid;
    uint64_t parent;
    int64_t start, found;
    uint32_t valid; /* of STARTED; the BY bits are those of the first one */
    seen_image images[MOST_PROGRAMS + 4];
    size_t count;
    uint64_t user, system, read_bytes, written_bytes;
    uint32_t sums;
    int exited;
    int64_t end;
    int status;
    uint32_t end_valid;
} seen_process;

static struct {
    mw_follower f;
    stream *in;
    seen_process seen[WORLD_SIZE * 2]; /* by serial */
    uint64_t count;
    uint64_t footprint; /* the sum at the last tick */
    uint64_t unread;    /* processes that are not in it */
    uint64_t stored;    /* in file systems in memory, and by the job */
    uint64_t written;
    uint64_t observations; /* observations */
} job;

static inline seen_image *last_image(seen_process *of) {
    return of->count ? &of->images[of->count - 1] : NULL;
}

/* Does what memwatch/model/job.py does with it. */
static inline void note_memory(seen_image *image, const mw_observation *o) {
    if (o->valid & MW_HAS_RSS && o->value > image->peak) {
        image->peak = o->value;
        image->source = SAMPLED;
    }
    if (!(o->valid & MW_HAS_WATERMARK))
        return;
    if (o->second >= image->peak)
        image->source = WATERMARK;
    if (o->second > image->peak)
        image->peak = o->second;
    if (o->valid & MW_FINAL)
        image->source = EXACT;
}

static inline void note_footprint(seen_image *image, const mw_observation *o) {
    if (o->valid & MW_HAS_FOOTPRINT && o->value > image->footprint_peak) {
        image->footprint_peak = o->value;
        image->footprint_source = SAMPLED;
    }
    if (!(o->valid & MW_HAS_WATERMARK) || o->second < image->footprint_peak)
        return;
    image->footprint_peak = o->second;
    image->footprint_source = o->valid & MW_FINAL ? EXACT : WATERMARK;
}

static inline void note_image(seen_process *of, const mw_observation *o) {
    seen_image *image = last_image(of);
    if (!o->second) {
        image->since = o->time;
        return;
    }
    if (!(o->valid & MW_SAME_IMAGE) || !image) {
        CHECK(of->count < MOST_PROGRAMS + 4);
        image = &of->images[of->count++];
        *image = (seen_image){.since = o->time};
    }
    CHECK(o->second <= MOST_TEXT);
    image->valid = o->valid;
    image->length = o->second;
    memcpy(image->text, job.f.reported.text + o->value, o->second);
}

static inline void note(const mw_observation *o) {
    if (o->kind == MW_TICK)
        return;
    if (o->kind == MW_TMPFS) {
        job.stored = o->value;
        job.written = o->second;
        return;
    }
    if (o->kind == MW_FOOTPRINT && !o->process) {
        job.footprint = o->value;
        job.unread = o->second;
        return;
    }
    CHECK(o->process < sizeof job.seen / sizeof *job.seen);
    seen_process *of = &job.seen[o->process];
    switch (o->kind) {
    case MW_STARTED:
        if (o->process > job.count) {
            job.count = o->process;
            of->valid = o->valid;
            of->found = o->time;
        }
        of->pid = o->pid;
        of->ppid = o->ppid;
        of->valid |= o->valid & (MW_HAS_PARENT | MW_HAS_START);
        if (o->valid & MW_HAS_PARENT)
            of->parent = o->value;
        of->start = (int64_t)o->second;
        break;
    case MW_IMAGE: note_image(of, o); break;
    case MW_MEMORY:
        CHECK(of->count);
        note_memory(last_image(of), o);
        break;
    case MW_FOOTPRINT:
        CHECK(of->count);
        note_footprint(last_image(of), o);
        break;
    case MW_CPU:
        of->user = o->value;
        of->system = o->second;
        of->sums |= o->valid;
        break;
    case MW_IO:
        of->read_bytes = o->value;
        of->written_bytes = o->second;
        of->sums |= o->valid;
        break;
    case MW_EXITED:
        of->exited = 1;
        of->end = o->time;
        of->status = (int)o->value;
        of->end_valid = o->valid;
        break;
    default: CHECK(!"a kind of the follower's");
    }
}

static inline void take_reported(void) {
    job.observations += job.f.reported.count;
    for (size_t i = 0; i < job.f.reported.count; i++) {
        stream_apply(job.in, &job.f.reported.records[i], job.f.reported.text,
                     job.f.reported.text_count);
        note(&job.f.reported.records[i]);
    }
    job.f.reported.count = job.f.reported.text_count = 0;
}

/* --- as text --- */

/*
 * One line for each process:
 *
 *     SERIAL PID<PPID(PARENT'S SERIAL) @START FOUND-BY IMAGE... END
 *
 * An image is NAME@SINCE=PEAK: ^ before it if it is the parent's, ? if only its
 * name is known, ! if the peak is final, ~ if it is the high-water mark before
 * the end; +PEAK is that of the footprint, with the same signs. An end is
 * -@TIME=STATUS, with ! if the time comes from the kernel. Times are in ms.
 */

static char shown[1 << 14];
static size_t shown_length;

__attribute__((format(printf, 1, 2))) static inline void
show(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    shown_length += (size_t)vsnprintf(
        shown + shown_length, sizeof shown - shown_length, format, arguments);
    va_end(arguments);
    CHECK(shown_length < sizeof shown);
}

static inline long ms(int64_t time) { return (long)(time / MS) - 1000; }

static inline void show_image(const seen_image *image) {
    static const char *const SOURCES[] = {"", "", "~", "!"};
    show(" %s", image->valid & MW_INHERITED ? "^" : "");
    if (image->valid & MW_HAS_ARGV) {
        size_t from = 0;
        for (int i = 0; i < 2; i++)
            from += strlen(image->text + from) + 1;
        for (size_t i = from; i + 1 < image->length; i++)
            show("%c", image->text[i] ? image->text[i] : ' ');
    } else {
        show("%s?", image->text);
    }
    show("@%ld", ms(image->since));
    if (image->source != UNSEEN)
        show("=%llu%s", (unsigned long long)image->peak,
             SOURCES[image->source]);
    if (image->footprint_source != UNSEEN)
        show("+%llu%s", (unsigned long long)image->footprint_peak,
             SOURCES[image->footprint_source]);
}

static inline void show_process(uint64_t serial) {
    const seen_process *p = &job.seen[serial];
    show("%llu %d<%d", (unsigned long long)serial, p->pid, p->ppid);
    if (p->valid & MW_HAS_PARENT)
        show("(%llu)", (unsigned long long)p->parent);
    if (p->valid & MW_HAS_START)
        show(" @%ld", ms(p->start));
    show(" %s", p->valid & MW_BY_EVENT    ? "event"
                : p->valid & MW_BY_RECORD ? "record"
                : p->valid & MW_BY_HOOK   ? "hook"
                                          : "tick");
    for (size_t i = 0; i < p->count; i++)
        show_image(&p->images[i]);
    if (p->sums & MW_HAS_CPU)
        show(" cpu %llu+%llu", (unsigned long long)p->user,
             (unsigned long long)p->system);
    if (p->sums & MW_HAS_IO)
        show(" io %llu+%llu", (unsigned long long)p->read_bytes,
             (unsigned long long)p->written_bytes);
    if (p->exited) {
        show(" -@%ld%s", ms(p->end), p->end_valid & MW_BY_EVENT ? "!" : "");
        if (p->end_valid & MW_HAS_STATUS)
            show("=%d", p->status);
    }
    show("\n");
}

/* --- a run --- */

static inline void begin(uint32_t sources) {
    memset(&world, 0, sizeof world);
    memset(&job, 0, sizeof job);
    world.now = 1000 * MS;
    world.sources = sources;
    world.cover_forks = (sources & (MW_CONNECTOR | MW_PERF)) != 0;
    job.f.platform = &world.platform;
    job.f.root_pid = ROOT;
    job.f.adopter_pid = ADOPTER;
    job.in = stream_new();
}

static inline void end(void) {
    mw_follow_end(&job.f);
    CHECK(!world.handles);
    mw_event_list_free(&world.events);
    mw_event_list_free(&world.records);
    stream_free(job.in);
}

/* Sets the time, in milliseconds since the beginning. */
static inline void at(int64_t ms) {
    CHECK(world.now <= (1000 + ms) * MS);
    world.now = (1000 + ms) * MS;
}

static inline void tick_as(int closing) {
    CHECK(!mw_follow_tick(&job.f, world.now, 0, 0, closing));
    take_reported();
}

static inline void tick(void) { tick_as(0); }

static inline void handle_events(void) {
    CHECK(!mw_follow_events(&job.f, world.now));
    take_reported();
}

#endif
