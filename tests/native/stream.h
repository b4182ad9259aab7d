/* Checks what must be true of every stream of observations, as api.h says,
   while it is read. */
#ifndef MW_TEST_STREAM_H
#define MW_TEST_STREAM_H

#include <errno.h>

#include "check.h"
#include "memwatch.h"

enum { MOST_PROCESSES = 1 << 16 };

typedef struct stream {
    struct {
        uint64_t rss;
        uint64_t shared; /* of `rss` */
        uint64_t faults;
        uint64_t footprint;
        uint64_t footprint_watermark; /* of its present image */
        int64_t since;                /* when that began */
        int32_t pid;
        uint8_t alive;
        uint8_t has_image;
        uint8_t has_footprint;
    } process[MOST_PROCESSES]; /* by serial */
    uint64_t huge_faults;
    uint64_t started;
    uint64_t alive;
    uint64_t ticks;
    uint64_t most_alive; /* at one tick */
    uint64_t images;
    uint64_t exit_statuses;
    int64_t time;     /* of the last tick */
    int64_t sum_time; /* of the last sum of footprints */
    int root_exited;
    int has_root_status;
    int root_status;
    int complete; /* the tick after the root's end has come: nothing may follow
                   */
    size_t capacity;
    size_t text_capacity;
    mw_observation *records;
    char *text;
} stream;

static inline uint64_t stream_total(const stream *in) {
    uint64_t total = 0;
    for (uint64_t i = 1; i <= in->started; i++)
        if (in->process[i].alive)
            total += in->process[i].rss;
    return total;
}

static inline uint64_t stream_shared(const stream *in) {
    uint64_t total = 0;
    for (uint64_t i = 1; i <= in->started; i++)
        if (in->process[i].alive)
            total += in->process[i].shared;
    return total;
}

static inline void stream_footprints(stream *in, const mw_observation *record) {
    uint64_t sum = 0, unknown = 0;
    for (uint64_t i = 1; i <= in->started; i++) {
        if (!in->process[i].alive)
            continue;
        if (in->process[i].has_footprint)
            sum += in->process[i].footprint;
        else
            unknown++;
    }
    CHECK(record->time >= in->time);
    CHECK(record->valid == MW_HAS_FOOTPRINT && !record->pid);
    CHECK(record->value == sum && record->second <= unknown);
    in->sum_time = record->time;
}

static inline void stream_footprint(stream *in, const mw_observation *record) {
    uint64_t serial = record->process;
    if (!serial) {
        stream_footprints(in, record);
        return;
    }
    CHECK(in->process[serial].has_image);
    if (record->valid & MW_FINAL) {
        CHECK(record->valid == (MW_FINAL | MW_HAS_WATERMARK));
        return;
    }
    CHECK(record->valid & MW_HAS_FOOTPRINT);
    int raised = (record->valid & MW_HAS_WATERMARK) != 0;
    CHECK(raised || !in->process[serial].has_footprint ||
          record->value != in->process[serial].footprint);
    CHECK(!raised || record->second > in->process[serial].footprint_watermark);
    if (raised)
        in->process[serial].footprint_watermark = record->second;
    in->process[serial].has_footprint = 1;
    in->process[serial].footprint = record->value;
}

static inline void stream_started(stream *in, const mw_observation *record) {
    uint64_t serial = record->process;
    CHECK(serial >= 1 && serial < MOST_PROCESSES);
    CHECK(record->pid > 0);
    if (record->valid & MW_HAS_PARENT)
        CHECK(record->value >= 1 && record->value <= in->started &&
              record->value != serial);
    if (serial <= in->started) {
        /* More is known about it. */
        CHECK(in->process[serial].alive);
        CHECK(in->process[serial].pid == record->pid);
        return;
    }
    CHECK(serial == in->started + 1);
    in->started = serial;
    in->process[serial].alive = 1;
    in->process[serial].pid = record->pid;
    in->alive++;
}

static inline void stream_image(stream *in, const mw_observation *record,
                                const char *all_text, size_t text_count) {
    uint64_t serial = record->process;
    if (!record->second) {
        /* It says when the image really began. */
        CHECK(record->valid == MW_SAME_IMAGE && in->process[serial].has_image);
        in->process[serial].since = record->time;
        return;
    }
    CHECK(record->second >= 2);
    CHECK(record->value <= text_count);
    CHECK(record->second <= text_count - record->value);
    const char *text = all_text + record->value;
    const char *name_end = memchr(text, 0, record->second);
    CHECK(name_end);
    CHECK(memchr(name_end + 1, 0,
                 record->second - (size_t)(name_end + 1 - text)));
    if (!(record->valid & MW_SAME_IMAGE)) {
        CHECK(record->time >= in->process[serial].since);
        in->process[serial].since = record->time;
        in->process[serial].has_footprint = 0;
        in->process[serial].footprint_watermark = 0;
        in->images++;
    }
    in->process[serial].has_image = 1;
}

/* MEMORY has two forms: the resident size, or only a high-water mark. */
static inline void stream_memory(stream *in, const mw_observation *record) {
    if (record->valid & MW_HAS_RSS) {
        CHECK(!(record->valid &
                ~(uint32_t)(MW_HAS_RSS | MW_HAS_WATERMARK | MW_HAS_SHARED)));
        CHECK(record->valid & MW_HAS_WATERMARK || !record->second);
        CHECK(record->valid & MW_HAS_SHARED || !record->third);
        CHECK(record->third <= record->value);
        in->process[record->process].rss = record->value;
        in->process[record->process].shared = record->third;
    } else {
        CHECK((record->valid | MW_FINAL) == (MW_HAS_WATERMARK | MW_FINAL));
    }
}

/* FAULTS has two forms: of one process, or of the machine. */
static inline void stream_faults(stream *in, const mw_observation *record) {
    CHECK(record->valid == MW_HAS_FAULTS);
    uint64_t *last = record->process ? &in->process[record->process].faults
                                     : &in->huge_faults;
    CHECK(record->value >= *last);
    *last = record->value;
}

/* Returns whether observations of this kind are always of the whole job. */
static inline int stream_is_of_job(uint32_t kind) {
    return kind == MW_TICK || kind == MW_PSS || kind == MW_TMPFS ||
           kind == MW_AVAILABLE;
}

static inline void stream_exited(stream *in, const mw_observation *record) {
    uint64_t serial = record->process;
    CHECK(in->process[serial].has_image);
    in->process[serial].alive = 0;
    in->alive--;
    in->exit_statuses += (record->valid & MW_HAS_STATUS) != 0;
    if (serial == 1) {
        in->root_exited = 1;
        in->has_root_status = (record->valid & MW_HAS_STATUS) != 0;
        in->root_status = (int)record->value;
    }
}

/* Checks one observation. Only ticks come in the order of time: an observation
   may come after the tick that it belongs before. For one process, the start
   comes first and the end last. */
static inline void stream_apply(stream *in, const mw_observation *record,
                                const char *text, size_t text_count) {
    uint64_t serial = record->process;
    CHECK(!in->complete);
    int may_be_of_job =
        record->kind == MW_FOOTPRINT || record->kind == MW_FAULTS;
    int of_process = record->kind != MW_STARTED &&
                     !stream_is_of_job(record->kind) &&
                     (!may_be_of_job || serial);
    CHECK(!record->ppid || record->kind == MW_STARTED);
    CHECK(!record->pid || of_process || record->kind == MW_STARTED);
    if (of_process) {
        CHECK(serial >= 1 && serial <= in->started);
        CHECK(in->process[serial].alive);
        CHECK(in->process[serial].pid == record->pid);
    }
    switch (record->kind) {
    case MW_STARTED: stream_started(in, record); break;
    case MW_IMAGE: stream_image(in, record, text, text_count); break;
    case MW_MEMORY: stream_memory(in, record); break;
    case MW_FOOTPRINT: stream_footprint(in, record); break;
    case MW_CPU: CHECK(record->valid & MW_HAS_CPU); break;
    case MW_IO: CHECK(record->valid & MW_HAS_IO); break;
    case MW_EXITED: stream_exited(in, record); break;
    case MW_TICK:
        CHECK(record->time >= in->time);
        CHECK(!in->sum_time || in->sum_time == record->time);
        in->time = record->time;
        CHECK(record->value == stream_total(in));
        CHECK(record->third == stream_shared(in));
        CHECK(record->second == in->alive);
        if (in->alive > in->most_alive)
            in->most_alive = in->alive;
        in->ticks++;
        in->complete = in->root_exited;
        break;
    case MW_PSS: CHECK(record->time <= in->time); break;
    case MW_FAULTS: stream_faults(in, record); break;
    case MW_PARTS: CHECK(!record->valid); break;
    case MW_TMPFS:
        CHECK(!serial && !record->valid);
        CHECK(record->second <= record->value);
        break;
    case MW_AVAILABLE: CHECK(!serial); break;
    default: CHECK(!"a known kind");
    }
}

/* Reads and checks everything that is there. */
static inline void stream_read(stream *in, mw_sampler *sampler) {
    size_t count, text_count;
    int error;
    while (
        (error = mw_sampler_read(sampler, in->records, in->capacity, in->text,
                                 in->text_capacity, &count, &text_count))) {
        CHECK(error == -ENOBUFS);
        CHECK(count > in->capacity || text_count > in->text_capacity);
        in->capacity = in->capacity > count ? in->capacity : count;
        in->text_capacity =
            in->text_capacity > text_count ? in->text_capacity : text_count;
        in->records = realloc(in->records, in->capacity * sizeof *in->records);
        in->text = realloc(in->text, in->text_capacity);
        CHECK(in->records && in->text);
    }
    for (size_t i = 0; i < count; i++)
        stream_apply(in, &in->records[i], in->text, text_count);
}

static inline stream *stream_new(void) {
    stream *in = calloc(1, sizeof *in);
    CHECK(in);
    return in;
}

static inline void stream_free(stream *in) {
    free(in->records);
    free(in->text);
    free(in);
}

#endif
