/*
 * A machine made up for the tests of follow.c: processes that do what the test
 * says, when it says so, looked at through platform.h; and what was observed of
 * them, put together by process.
 *
 * It does as the kernel does: a zombie shows its name and no memory, a handle
 * stays with its process when the pid is used again, start times are cut to
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
    MOST_PEOPLE = 64,
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
    uint64_t mark; /* a fork has its parent's */
} program;

typedef struct person {
    int32_t pid, ppid;
    struct person *parent; /* who forked it */
    int64_t start;
    int64_t end;
    enum mw_life life;
    int status;
    uint64_t rss, watermark;
    uint64_t footprint, footprint_peak;
    program programs[MOST_PROGRAMS]; /* the first is its parent's */
    unsigned count;
    unsigned mark;   /* what a poll can tell an image by */
    int in_execve;   /* neither memory's text nor command line are there */
    int held_apart;  /* the memory cannot be read */
    int vforked;     /* it is the parent's */
    int first_ended; /* its first thread, not the others */
} person;

struct mw_platform {
    char nothing;
};

struct mw_handle {
    person *who;
    unsigned mark;  /* 0: not known yet */
    unsigned count; /* images, at the last inspection; 0: not known yet */
    char name[16];
};

static struct {
    mw_platform platform;
    int64_t now;
    uint32_t sources;
    int lost;       /* passes in which the events do not tell all */
    int tell_forks; /* looks tell of no children */
    int footprints; /* looks tell of those, a zombie's of the peak */
    person people[MOST_PEOPLE];
    size_t count;
    uint64_t marks;          /* given to images */
    mw_news_list events;     /* to be fetched: with a time in its order */
    mw_news_list records;    /* and those without */
    long handles;            /* open ones */
    void (*meanwhile)(void); /* what happens while the follower is at work */
} world;

static inline void meanwhile(void) {
    if (world.meanwhile)
        world.meanwhile();
}

int64_t mw_now(void) { return world.now; }

/* The process that has a pid now. */
static inline person *who_is(int32_t pid) {
    for (size_t i = world.count; i-- > 0;)
        if (world.people[i].pid == pid && world.people[i].life != MW_VANISHED)
            return &world.people[i];
    return NULL;
}

static inline const program *runs(const person *who) {
    return &who->programs[who->count - 1];
}

/* A word for each argument, the first of them the name. */
static inline void set_program(person *who, const char *words) {
    CHECK(who->count < MOST_PROGRAMS);
    program *made = &who->programs[who->count++];
    memset(made, 0, sizeof *made);
    made->since = world.now;
    made->mark = ++world.marks;
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

static inline person *born(int32_t pid, int32_t ppid) {
    CHECK(world.count < MOST_PEOPLE && !who_is(pid));
    person *made = &world.people[world.count++];
    memset(made, 0, sizeof *made);
    made->pid = pid;
    made->ppid = ppid;
    made->start = world.now;
    made->parent = who_is(ppid);
    made->rss = made->watermark = 10;
    made->footprint = made->footprint_peak = 10;
    made->mark = made->parent ? made->parent->mark : 1;
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

static inline void holds(person *who, uint64_t rss) {
    who->rss = rss;
    if (rss > who->watermark)
        who->watermark = rss;
}

static inline void is_charged(person *who, uint64_t footprint) {
    who->footprint = footprint;
    if (footprint > who->footprint_peak)
        who->footprint_peak = footprint;
}

/* What ends with an image. */
static inline void keep_peaks(person *who) {
    who->programs[who->count - 1].peak = who->watermark;
    who->programs[who->count - 1].footprint_peak = who->footprint_peak;
}

/* Executes something that a poll can tell from what was there. */
static inline void executes(person *who, const char *words) {
    keep_peaks(who);
    set_program(who, words);
    who->mark++;
    who->rss = who->watermark = 1;
    who->footprint = who->footprint_peak = 1;
}

static inline void ends(person *who, int status) {
    keep_peaks(who);
    who->life = MW_ENDED;
    who->status = status;
    who->end = world.now;
    who->rss = who->footprint = 0;
    for (size_t i = 0; i < world.count; i++)
        if (world.people[i].ppid == who->pid &&
            world.people[i].life != MW_VANISHED)
            world.people[i].ppid = ADOPTER;
}

static inline void vanishes(person *who) { who->life = MW_VANISHED; }

/* --- news --- */

static inline mw_news *news(mw_news_list *list, uint32_t kind, int32_t pid,
                            const char *text, size_t length) {
    mw_news *made = mw_news_add(list, text, length);
    CHECK(made);
    made->time = world.now;
    made->kind = kind;
    made->pid = made->tid = pid;
    return made;
}

static inline void say_fork(int32_t pid, int32_t ppid) {
    news(&world.events, MW_NEWS_FORK, pid, NULL, 0)->ppid = ppid;
}

static inline void say_exec(int32_t pid, const char *name) {
    news(&world.events, MW_NEWS_EXEC, pid, name, strlen(name));
}

/* -1: the source does not tell the status. */
static inline void say_exit(int32_t pid, int status) {
    mw_news *made = news(&world.events, MW_NEWS_EXIT, pid, NULL, 0);
    if (status >= 0) {
        made->status = status;
        made->valid = MW_HAS_STATUS;
    }
}

/* Of the first thread, unless the caller says another. */
static inline mw_news *say_record(const person *who, int64_t user) {
    const program *last = runs(who);
    mw_news *made = news(&world.records, MW_NEWS_RECORD, who->pid, last->name,
                         strlen(last->name));
    made->ppid = who->ppid;
    made->elapsed = world.now - who->start;
    made->peak = who->watermark;
    made->user = user;
    made->system = 1;
    made->read_bytes = 512;
    made->status = who->status;
    made->valid = MW_HAS_WATERMARK | MW_HAS_CPU | MW_HAS_IO | MW_HAS_STATUS |
                  (who->count == 1 ? MW_INHERITED : 0);
    return made;
}

static inline mw_news *say_hook(const person *who, uint32_t kind) {
    const program *last = runs(who);
    /* Of a fork that is about to execute only the time is read. */
    int fresh = kind == MW_NEWS_EXECUTING && who->count == 1;
    mw_news *made = news(&world.events, kind, who->pid, last->text,
                         fresh ? 0 : last->length);
    made->ppid = who->ppid;
    made->start = who->start / CLOCK_TICK * CLOCK_TICK;
    made->valid = MW_HAS_START | (who->count == 1 ? MW_INHERITED : 0);
    if (fresh)
        return made;
    made->peak = who->watermark;
    made->user = 2;
    made->system = 1;
    made->mark = runs(who)->mark;
    made->valid |= MW_HAS_WATERMARK | MW_HAS_CPU | MW_HAS_EXE | MW_HAS_ARGV;
    return made;
}

static inline void say_executing(const person *who) {
    say_hook(who, MW_NEWS_EXECUTING);
}

static inline void say_last(const person *who, int status) {
    mw_news *made = say_hook(who, MW_NEWS_LAST);
    made->status = status;
    made->valid |= MW_HAS_STATUS;
}

/* --- platform.h --- */

uint32_t mw_platform_sources(const mw_platform *platform) {
    (void)platform;
    uint32_t events = MW_CONNECTOR | MW_PERF;
    return world.lost ? world.sources & ~events : world.sources;
}

static inline void pass_on(mw_news_list *from, mw_news_list *to) {
    for (size_t i = 0; i < from->count; i++) {
        const mw_news *item = &from->items[i];
        mw_news *copy = mw_news_copy(to, item, from->text + item->text);
        CHECK(copy);
        if (copy->kind == MW_NEWS_RECORD)
            copy->time = world.now;
    }
    mw_news_clear(from);
}

int mw_platform_news(mw_platform *platform, int closing, mw_news_list *out) {
    (void)platform, (void)closing;
    pass_on(&world.events, out);
    meanwhile();
    pass_on(&world.records, out);
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
        if (world.people[i].ppid == ADOPTER &&
            world.people[i].life != MW_VANISHED)
            CHECK(!mw_pids_add(found, world.people[i].pid));
    return 0;
}

int mw_platform_attach(mw_platform *platform, int32_t pid, mw_handle **out,
                       mw_identity *identity) {
    (void)platform;
    *out = NULL;
    meanwhile();
    person *who = who_is(pid);
    if (!who)
        return 0;
    *out = calloc(1, sizeof **out);
    CHECK(*out);
    world.handles++;
    (*out)->who = who;
    if (who->life == MW_ALIVE && !who->in_execve)
        (*out)->mark = who->mark;
    memcpy((*out)->name, runs(who)->name, sizeof(*out)->name);
    identity->start = who->start / CLOCK_TICK * CLOCK_TICK;
    identity->ppid = who->ppid;
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
    const person *who = handle->who;
    out->life = who->life;
    if (who->life != MW_ALIVE) {
        if (world.footprints && !who->held_apart && who->life == MW_ENDED) {
            out->footprint_peak = who->footprint_peak;
            out->valid = MW_HAS_WATERMARK;
        }
        return 0;
    }
    if (!who->held_apart) {
        out->rss = who->rss;
        out->valid = MW_HAS_RSS;
        if (world.footprints) {
            out->footprint = who->footprint;
            out->footprint_peak = who->footprint_peak;
            out->valid |= MW_HAS_FOOTPRINT | MW_HAS_WATERMARK;
        }
    }
    if (who->in_execve) {
        if (handle->mark)
            handle->mark = UINT32_MAX;
    } else if (handle->mark != who->mark) {
        out->new_image = handle->mark != 0;
        handle->mark = who->mark;
        handle->count = 0;
    }
    if (world.tell_forks && !world.lost)
        return 0;
    for (size_t i = 0; i < world.count; i++)
        if (world.people[i].ppid == who->pid &&
            world.people[i].life != MW_VANISHED)
            CHECK(!mw_pids_add(found, world.people[i].pid));
    return 0;
}

int mw_platform_inspect(mw_platform *platform, mw_handle *handle,
                        mw_inspection *out) {
    (void)platform;
    const person *who = handle->who;
    if (who->life != MW_ALIVE || who->in_execve)
        return 0;
    out->watermark = who->watermark;
    out->valid = MW_HAS_WATERMARK;
    out->new_image = handle->count && handle->count != who->count;
    handle->count = who->count;
    return 0;
}

void mw_platform_image(mw_platform *platform, mw_handle *handle, char *text,
                       size_t capacity, mw_image *out) {
    (void)platform;
    meanwhile();
    const person *who = handle->who;
    const program *now = runs(who);
    const char *name = handle->name;
    *out = (mw_image){0};
    CHECK(capacity >= MOST_TEXT);
    if (who->life != MW_VANISHED) {
        name = now->name;
        if (who->count == 1)
            out->valid |= MW_INHERITED;
        if (who->life == MW_ALIVE && !who->in_execve) {
            handle->mark = who->mark;
            handle->count = who->count;
            out->mark = runs(who)->mark;
            out->valid |= MW_HAS_EXE | MW_HAS_ARGV;
            out->length = now->length;
            handle->name[0] = '\0';
            memcpy(text, now->text, now->length);
            return;
        }
    }
    /* A name is all that is left, or all that is there already. */
    size_t length = strlen(name);
    memcpy(text, name, length + 1);
    text[length + 1] = '\0';
    handle->name[0] = '\0';
    out->length = length ? length + 2 : 0;
}

uint64_t mw_platform_roughness(const mw_platform *platform) {
    (void)platform;
    return 0;
}

int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other) {
    (void)platform;
    const person *who = who_is(pid);
    return who && who->ppid == other && who->vforked;
}

int mw_platform_reap(mw_platform *platform, mw_handle *handle, int *status,
                     uint64_t *peak) {
    *peak = 0;
    (void)platform;
    if (handle->who->ppid != ADOPTER || handle->who->life != MW_ENDED)
        return 0;
    *status = handle->who->status;
    vanishes(handle->who);
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
} told_image;

typedef struct {
    int32_t pid, ppid;
    uint64_t parent;
    int64_t start, found;
    uint32_t valid; /* of its start; it was found by what it said at first */
    told_image images[MOST_PROGRAMS + 4];
    size_t count;
    uint64_t user, system, read_bytes, written_bytes;
    uint32_t sums;
    int exited;
    int64_t end;
    int status;
    uint32_t end_valid;
} told_process;

static struct {
    mw_follower f;
    stream *in;
    told_process told[MOST_PEOPLE * 2]; /* by serial */
    uint64_t count;
    uint64_t footprint; /* the sum at the last tick */
    uint64_t unread;    /* processes that are not in it */
    uint64_t said;      /* observations */
} job;

static inline told_image *last_image(told_process *of) {
    return of->count ? &of->images[of->count - 1] : NULL;
}

/* As memwatch/model/job.py understands it. */
static inline void note_memory(told_image *image, const mw_observation *o) {
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

static inline void note_footprint(told_image *image, const mw_observation *o) {
    if (o->valid & MW_HAS_FOOTPRINT && o->value > image->footprint_peak) {
        image->footprint_peak = o->value;
        image->footprint_source = SAMPLED;
    }
    if (!(o->valid & MW_HAS_WATERMARK) || o->second < image->footprint_peak)
        return;
    image->footprint_peak = o->second;
    image->footprint_source = o->valid & MW_FINAL ? EXACT : WATERMARK;
}

static inline void note_image(told_process *of, const mw_observation *o) {
    told_image *image = last_image(of);
    if (!o->second) {
        image->since = o->time;
        return;
    }
    if (!(o->valid & MW_SAME_IMAGE) || !image) {
        CHECK(of->count < MOST_PROGRAMS + 4);
        image = &of->images[of->count++];
        *image = (told_image){.since = o->time};
    }
    CHECK(o->second <= MOST_TEXT);
    image->valid = o->valid;
    image->length = o->second;
    memcpy(image->text, job.f.said.text + o->value, o->second);
}

static inline void note(const mw_observation *o) {
    if (o->kind == MW_TICK)
        return;
    if (o->kind == MW_FOOTPRINT && !o->process) {
        job.footprint = o->value;
        job.unread = o->second;
        return;
    }
    CHECK(o->process < sizeof job.told / sizeof *job.told);
    told_process *of = &job.told[o->process];
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

static inline void take_said(void) {
    job.said += job.f.said.count;
    for (size_t i = 0; i < job.f.said.count; i++) {
        stream_apply(job.in, &job.f.said.records[i], job.f.said.text,
                     job.f.said.text_count);
        note(&job.f.said.records[i]);
    }
    job.f.said.count = job.f.said.text_count = 0;
}

/* --- as text --- */

/*
 * A line for each process:
 *
 *     SERIAL PID<PPID(PARENT'S SERIAL) @START FOUND-BY IMAGE... END
 *
 * An image is NAME@SINCE=PEAK, with ^ for one that is its parent's, ? for one
 * of which only the name is known, ! for a peak that is final and ~ for one
 * that is the kernel's mark before the end; +PEAK is that of the footprint,
 * with the same. An end is -@TIME=STATUS, with ! for a time that the kernel
 * told. Times are in milliseconds.
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

static inline void show_image(const told_image *image) {
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
    const told_process *p = &job.told[serial];
    show("%llu %d<%d", (unsigned long long)serial, p->pid, p->ppid);
    if (p->valid & MW_HAS_PARENT)
        show("(%llu)", (unsigned long long)p->parent);
    if (p->valid & MW_HAS_START)
        show(" @%ld", ms(p->start));
    show(" %s", p->valid & MW_BY_EVENT    ? "event"
                : p->valid & MW_BY_RECORD ? "record"
                : p->valid & MW_BY_HOOK   ? "hook"
                                          : "look");
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
    world.tell_forks = (sources & (MW_CONNECTOR | MW_PERF)) != 0;
    job.f.platform = &world.platform;
    job.f.root_pid = ROOT;
    job.f.adopter_pid = ADOPTER;
    job.in = stream_new();
}

static inline void end(void) {
    mw_follow_end(&job.f);
    CHECK(!world.handles);
    mw_news_free(&world.events);
    mw_news_free(&world.records);
    stream_free(job.in);
}

/* Milliseconds since the beginning. */
static inline void at(int64_t ms) {
    CHECK(world.now <= (1000 + ms) * MS);
    world.now = (1000 + ms) * MS;
}

static inline void tick_as(int closing) {
    CHECK(!mw_follow_tick(&job.f, world.now, 0, 0, closing));
    take_said();
}

static inline void tick(void) { tick_as(0); }

static inline void hear_news(void) {
    CHECK(!mw_follow_news(&job.f, world.now));
    take_said();
}

#endif
