#include "follow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A process is inspected this long after its image was first seen, then each
   time its age has doubled, so that the last inspection lies in the second half
   of its life; and once a second while its memory changes. An inspection costs
   as much as ten looks. */
static const int64_t FIRST_INSPECTION = 16000000;
static const int64_t LIVELY_INSPECTION = 1000000000;

/* Longest text of an image: the kernel's limit for one argument (128 KiB), and
   the path and the name before it. */
enum { IMAGE_TEXT = (128 << 10) + 2 * 4096 + 64 };

/* How often the command line of a process in the middle of execve is looked
   for again. */
enum { IMAGE_RETRIES = 3 };

/* How often at most a process that executes one program after the other is
   looked at in a row. */
enum { MOST_VIEWS = 3 };

/* For how many passes a process that is gone waits for word of its end, and one
   whose end was reported stays known by its pid, for word that comes late. */
enum { PATIENCE = 2 };

/* An image can be seen by so much before the kernel says that it was executed,
   most likely: arguments are copied and files are read in between. */
static const int64_t EXEC_LAG = 10000000;

/* Start times that belong to one process differ by less: `stat` cuts them to
   10 ms, and an exit record has only the time it took, to when it was read. */
static const int64_t SAME_START = 30000000;

static int has_events(const mw_follower *f) {
    return (mw_platform_sources(f->platform) & (MW_CONNECTOR | MW_PERF)) != 0;
}

static mw_slot *find(const mw_follower *f, int32_t pid) {
    ptrdiff_t index = mw_table_find(&f->table, pid);
    return index < 0 ? NULL : &f->table.slots[index];
}

/* -- What is said -- */

static mw_observation *observe(mw_follower *f, int64_t time, uint32_t kind,
                               const mw_slot *slot) {
    mw_observation *record = mw_queue_add(&f->said);
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

static void note_size(mw_follower *f, uint64_t size) {
    if (size > f->largest)
        f->largest = size;
}

/* Whether what a process holds is its own. Until it executes something, a child
   of vfork has its parent's memory, which counts once. */
static int has_own_memory(mw_follower *f, mw_slot *slot) {
    if (slot->inherited && !slot->own_memory)
        slot->own_memory =
            !mw_platform_shares_memory(f->platform, slot->pid, slot->ppid);
    return !slot->inherited || slot->own_memory;
}

static mw_observation *report_rss(mw_follower *f, mw_slot *slot, int64_t time,
                                  uint64_t rss) {
    mw_observation *record = observe(f, time, MW_MEMORY, slot);
    if (record) {
        record->value = slot->rss = rss;
        record->valid = MW_HAS_RSS;
        slot->has_rss = 1;
        note_size(f, rss);
        if (slot->next_inspection > time + LIVELY_INSPECTION) {
            slot->next_inspection = time + LIVELY_INSPECTION;
            slot->inspection_gap = LIVELY_INSPECTION;
        }
    }
    return record;
}

/* Says the physical footprint when it has changed, or its mark has. */
static int report_footprint(mw_follower *f, mw_slot *slot, int64_t time,
                            const mw_reading *reading) {
    if (!(reading->valid & MW_HAS_FOOTPRINT))
        return 0;
    uint64_t mark =
        reading->valid & MW_HAS_WATERMARK ? reading->footprint_peak : 0;
    int raised = mark > slot->footprint_mark;
    if (slot->has_footprint && slot->footprint == reading->footprint && !raised)
        return 0;
    mw_observation *record = observe(f, time, MW_FOOTPRINT, slot);
    if (!record)
        return -ENOMEM;
    record->value = slot->footprint = reading->footprint;
    record->valid = MW_HAS_FOOTPRINT;
    slot->has_footprint = 1;
    f->has_footprint = 1;
    if (raised) {
        record->second = slot->footprint_mark = mark;
        record->valid |= MW_HAS_WATERMARK;
    }
    return 0;
}

static int report_watermark(mw_follower *f, mw_slot *slot, int64_t time,
                            uint64_t peak, uint32_t final) {
    mw_observation *record = observe(f, time, MW_MEMORY, slot);
    if (!record)
        return -ENOMEM;
    record->value = mw_platform_roughness(f->platform);
    record->second = peak;
    record->valid = MW_HAS_WATERMARK | final;
    note_size(f, peak);
    return 0;
}

static uint64_t hash_of(const char *text, size_t length) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

/* Reports an image. `text` is not in the queue yet. */
static int report_image(mw_follower *f, mw_slot *slot, int64_t time,
                        const char *text, const mw_image *image) {
    size_t length = image->length;
    uint32_t valid = image->valid;
    char *room = mw_queue_text(&f->said, length);
    mw_observation *record = room ? observe(f, time, MW_IMAGE, slot) : NULL;
    if (!record)
        return -ENOMEM;
    memcpy(room, text, length);
    record->value = f->said.text_count;
    record->second = length;
    record->valid = valid;
    f->said.text_count += length;
    if (!(valid & MW_SAME_IMAGE) || !length)
        slot->since = time;
    if (!length)
        return 0;
    if (!(valid & MW_SAME_IMAGE)) {
        slot->has_footprint = 0;
        slot->footprint_mark = 0;
    }
    if (mw_platform_sources(f->platform) & MW_HOOK)
        slot->text = hash_of(text, length);
    if (image->mark || !(valid & MW_SAME_IMAGE))
        slot->mark = image->mark;
    slot->has_image = 1;
    slot->inherited = (valid & MW_INHERITED) != 0;
    slot->is_complete = (valid & MW_HAS_ARGV) != 0;
    if (slot->is_complete || slot->inherited)
        slot->image_retries = 0;
    return 0;
}

/* Whether an image is one that is known by its mark and its text's hash. The
   mark tells more: a program may change its command line, or execute itself. */
static int is_image(const mw_image *image, const char *text, int is_fork,
                    uint64_t mark, uint64_t hash) {
    if (is_fork || (image->valid & MW_INHERITED))
        return is_fork && (image->valid & MW_INHERITED);
    if (mark && image->mark)
        return mark == image->mark;
    return hash_of(text, image->length) == hash;
}

static int is_reported(const mw_slot *slot, const mw_image *image,
                       const char *text) {
    return slot->has_image &&
           is_image(image, text, slot->inherited, slot->mark, slot->text);
}

/* Whether a look that shows an image for the first time shows a new one: what
   the hook saw of it may have been reported already. */
static int is_new_image(mw_follower *f, mw_slot *slot, int first_seen) {
    if (!first_seen || !slot->hook_first)
        return first_seen;
    slot->hook_first = 0;
    mw_image image;
    mw_platform_image(f->platform, slot->handle, f->text, IMAGE_TEXT, &image);
    return !image.length || !is_reported(slot, &image, f->text);
}

/* Reports an image that nobody could look at, by the name that is known. */
static int report_unseen_image(mw_follower *f, mw_slot *slot, int64_t time,
                               uint32_t valid) {
    char text[sizeof slot->name + 1];
    size_t length = strlen(slot->name);
    memcpy(text, slot->name, length);
    text[length] = text[length + 1] = '\0';
    mw_image image = {.length = length + 2, .valid = valid};
    return report_image(f, slot, time, text, &image);
}

/* The image that ran until now has ended in execve. */
static int end_image(mw_follower *f, mw_slot *slot, int64_t time) {
    int error = 0;
    if ((slot->attempt.valid & MW_HAS_WATERMARK) && slot->has_image)
        error = report_watermark(f, slot, time, slot->attempt.peak, MW_FINAL);
    slot->attempt = (mw_attempt){0};
    return error;
}

static void expect_memory(mw_slot *slot, int64_t time) {
    slot->watermark = 0;
    slot->has_rss = 0;
    slot->inspection_gap = FIRST_INSPECTION;
    schedule_inspection(slot, time);
}

static void expect_image(mw_slot *slot, int64_t time) {
    expect_memory(slot, time);
    slot->executed = slot->exec_due = slot->hook_first = 0;
    slot->image_retries = IMAGE_RETRIES;
}

/* -- Who belongs to the job -- */

static int report_start(mw_follower *f, const mw_slot *slot, int64_t time,
                        uint32_t found_by) {
    mw_observation *record = observe(f, time, MW_STARTED, slot);
    if (!record)
        return -ENOMEM;
    record->ppid = slot->ppid;
    record->valid = (slot->known & MW_HAS_START) | found_by;
    record->second = (uint64_t)slot->start;
    const mw_slot *parent = find(f, slot->ppid);
    if (parent && parent != slot) {
        record->value = parent->serial;
        record->valid |= MW_HAS_PARENT;
    }
    return 0;
}

typedef struct {
    int64_t start;
    int64_t time; /* of when it was found */
    int32_t pid;
    int32_t ppid;
    uint32_t valid; /* MW_HAS_START */
    uint32_t found_by;
} newcomer;

/* Takes up a process. A slot that has its pid is used again. */
static int add_process(mw_follower *f, const newcomer *who, mw_slot **out) {
    mw_slot *slot = find(f, who->pid);
    if (slot) {
        if (slot->handle)
            mw_platform_detach(f->platform, slot->handle);
        memset(slot, 0, sizeof *slot);
        slot->pid = who->pid;
    } else {
        int error = mw_table_add(&f->table, who->pid, &slot);
        if (error)
            return error;
    }
    slot->serial = ++f->last_serial;
    slot->ppid = who->ppid;
    slot->start = who->start;
    slot->known = who->valid & MW_HAS_START;
    slot->patience = PATIENCE;
    *out = slot;
    return report_start(f, slot, who->time, who->found_by);
}

/* Whether `start` can be that of the process in `slot`. */
static int is_same(const mw_slot *slot, int64_t start) {
    return !(slot->known & MW_HAS_START) ||
           llabs(slot->start - start) < SAME_START;
}

/* Whether a new image has been seen of which word is still to come. Until then
   its memory belongs to an image that has not begun. */
static int awaits_exec(const mw_follower *f, mw_slot *slot, int new_image) {
    if (new_image && has_events(f))
        slot->exec_due = PATIENCE + 1;
    return slot->exec_due != 0;
}

/* Reports what a later look has shown of the image that is reported. */
static int complete_image(mw_follower *f, mw_slot *slot, int64_t time,
                          mw_image *image) {
    if (!image->length || !(image->valid & (MW_HAS_ARGV | MW_INHERITED)))
        return 0;
    image->valid |= MW_SAME_IMAGE;
    return report_image(f, slot, time, f->text, image);
}

/* What one look at a process shows. */
typedef struct {
    int64_t begun;
    mw_image image; /* its text is in f->text */
    mw_reading memory;
} view;

static int apply_news(mw_follower *f);

/* Reads the memory of a process. One that has ended may still tell the highest
   footprint of its last image. */
static int look(mw_follower *f, mw_slot *slot, int64_t time, mw_reading *out) {
    int error =
        mw_platform_poll(f->platform, slot->handle, time, out, &f->found);
    if (!error && out->life == MW_ENDED && (out->valid & MW_HAS_WATERMARK)) {
        slot->known |= MW_HAS_FOOTPRINT;
        slot->footprint_peak = out->footprint_peak;
    }
    return error;
}

static int take_view(mw_follower *f, mw_slot *slot, int64_t time, view *out) {
    *out = (view){.begun = mw_now()};
    mw_platform_image(f->platform, slot->handle, f->text, IMAGE_TEXT,
                      &out->image);
    return look(f, slot, time, &out->memory);
}

/* Whether a process says that it is about to execute, or that it has. */
static int hears_of_execs(const mw_follower *f) {
    return has_events(f) || (mw_platform_sources(f->platform) & MW_HOOK);
}

/* Looks at a process until word of all it had executed by then has come, so
   that it is known which image was seen. *at moves with the table; NULL when
   the process has ended meanwhile. */
static int view_it(mw_follower *f, mw_slot **at, int64_t time, view *out) {
    int32_t pid = (*at)->pid;
    uint64_t serial = (*at)->serial;
    for (int i = 0; i < MOST_VIEWS; i++) {
        int error = take_view(f, *at, time, out);
        if (!error && hears_of_execs(f))
            error = apply_news(f);
        *at = find(f, pid);
        if (*at && ((*at)->serial != serial || (*at)->ended))
            *at = NULL;
        if (error || !*at)
            return error;
        int is_later = has_events(f)
                           ? (*at)->executed && (*at)->executed_at >= out->begun
                           : (*at)->attempt.time >= out->begun;
        if (!is_later && !out->memory.new_image)
            return 0;
    }
    return 0;
}

/* Reports a new image that a look has shown, and the memory in it. */
static int report_view(mw_follower *f, mw_slot *slot, int64_t time,
                       const view *seen) {
    const mw_attempt *tried = &slot->attempt;
    int announced = slot->executed;
    int has_tried = /* in what is seen: that is yet to end, then */
        !announced && tried->time &&
        is_image(&seen->image, f->text, (tried->valid & MW_INHERITED) != 0,
                 tried->mark, tried->text);
    int64_t since = time;
    if (announced)
        since = slot->executed_at;
    else if (tried->time && !has_tried)
        since = tried->time;
    else if (!slot->has_image && has_events(f))
        since = slot->start;
    /* What was told since this pass began may be later than it. */
    if (since < slot->since)
        since = slot->since;
    if (slot->leaving && since > slot->ended_at)
        since = slot->ended_at;
    int error = has_tried ? 0 : end_image(f, slot, since);
    expect_image(slot, time);
    if (!error && seen->image.length)
        error = report_image(f, slot, since, f->text, &seen->image);
    /* If it has gone meanwhile, its end is when to tell of what it executed. */
    slot->executed = announced && !seen->image.length;
    if (!error && slot->executed && seen->memory.life == MW_ALIVE) {
        /* It is there, but must not be looked at: hidden by hidepid, say. */
        error = report_unseen_image(f, slot, since, 0);
        slot->executed = 0;
    }
    /* In the middle of execve: the memory may still be of the image before. */
    slot->early_image = !announced && slot->has_image && !slot->inherited;
    slot->image_read_at = seen->begun;
    if (!error && (seen->memory.valid & MW_HAS_RSS) &&
        !seen->memory.new_image && !(slot->early_image && has_events(f)) &&
        has_own_memory(f, slot)) {
        error = report_rss(f, slot, time, seen->memory.rss) ? 0 : -ENOMEM;
        if (!error)
            error = report_footprint(f, slot, time, &seen->memory);
    }
    return error;
}

/* Whether what is seen now is what was seen in the middle of its execve. */
static int was_in_execve(const mw_follower *f, const mw_slot *slot,
                         const view *seen) {
    if (slot->executed || !slot->has_image || (slot->mark && seen->image.mark))
        return 0;
    if (slot->image_retries && seen->begun < slot->image_read_at + EXEC_LAG)
        return 1; /* most likely */
    /* It has not said that it would execute anything since. */
    return !has_events(f) && hears_of_execs(f) && !slot->attempt.time &&
           !slot->is_complete && !slot->inherited;
}

/* Whether the hook knows better what a process runs than this look, taken
   before what it said, or too early or too late to see. */
static int is_told_by_hook(const mw_slot *slot, const view *seen) {
    if (!slot->has_image)
        return 0;
    int is_past = !slot->inherited && (seen->image.valid & MW_INHERITED);
    int is_visible =
        seen->image.mark || (seen->image.valid & (MW_HAS_EXE | MW_HAS_ARGV));
    return slot->exits || is_past || !is_visible;
}

/* A look has shown, or word has come, that a process runs something new. */
static int begin_image(mw_follower *f, mw_slot *slot, int64_t time) {
    view seen;
    int error = view_it(f, &slot, time, &seen);
    if (error || !slot)
        return error;
    /* The hook may have told of it meanwhile. */
    if (has_events(f) && slot->has_image && !slot->executed)
        return 0;
    int is_hooked = !has_events(f) && hears_of_execs(f);
    if (is_hooked && is_told_by_hook(slot, &seen))
        return 0;
    if (is_hooked && is_reported(slot, &seen.image, f->text)) {
        slot->hook_first = 0;
        return slot->is_complete ? 0
                                 : complete_image(f, slot, time, &seen.image);
    }
    if (was_in_execve(f, slot, &seen))
        return complete_image(f, slot, time, &seen.image);
    return report_view(f, slot, time, &seen);
}

/* Looks again for a command line that was missing in the middle of execve. */
static int retry_image(mw_follower *f, mw_slot *slot, int64_t time) {
    mw_image image;
    mw_platform_image(f->platform, slot->handle, f->text, IMAGE_TEXT, &image);
    if (slot->mark && image.mark && slot->mark != image.mark && !has_events(f))
        return begin_image(f, slot, time);
    return complete_image(f, slot, time, &image);
}

/* Takes hold of a process known from news, unless it has gone. */
static int take_hold(mw_follower *f, mw_slot *slot) {
    mw_identity identity = {0};
    mw_handle *handle;
    int error = mw_platform_attach(f->platform, slot->pid, &handle, &identity);
    if (error || !handle)
        return error;
    if ((identity.valid & MW_HAS_START) && !is_same(slot, identity.start))
        mw_platform_detach(f->platform, handle); /* another one's pid by now */
    else
        slot->handle = handle;
    return 0;
}

/* Begins to look at a process known from news. It may have gone. */
static int attach(mw_follower *f, mw_slot *slot, int64_t time) {
    int error = take_hold(f, slot);
    if (error || !slot->handle)
        return error;
    if (!slot->has_image || slot->executed)
        return begin_image(f, slot, time);
    /* The hook has seen it before. */
    expect_memory(slot, time);
    return 0;
}

/* Keeps an eye on a process that has ended without having been looked at. */
static int hold(mw_follower *f, mw_slot *slot, enum mw_life *life) {
    int error = take_hold(f, slot);
    if (!error && slot->handle) {
        *life = MW_ENDED;
        slot->passes = 0;
    }
    return error;
}

static int hear(mw_follower *f, int64_t time);

/* Whether who has that pid is followed already, and not only one that had it
   before: whose end was reported may be gone by now. */
static int is_followed(mw_follower *f, int32_t pid, int64_t time) {
    const mw_slot *slot = find(f, pid);
    mw_reading reading = {.life = MW_ENDED};
    if (!slot || !slot->ended || !slot->handle || has_events(f))
        return slot != NULL;
    int error =
        mw_platform_poll(f->platform, slot->handle, time, &reading, &f->found);
    return error || reading.life != MW_VANISHED;
}

/* Follows every process of `found` that is not followed yet. */
static int adopt_found(mw_follower *f, int64_t time) {
    int heard = !has_events(f);
    for (size_t i = 0; i < f->found.count; i++) {
        int32_t pid = f->found.pid[i];
        if (is_followed(f, pid, time))
            continue;
        if (!heard) {
            /* Word of its fork has come meanwhile, and knows more. */
            heard = 1;
            int error = hear(f, time);
            if (error)
                return error;
            if (mw_table_find(&f->table, pid) >= 0)
                continue;
        }
        mw_handle *handle;
        mw_identity identity = {0};
        int error = mw_platform_attach(f->platform, pid, &handle, &identity);
        if (error)
            return error;
        if (!handle)
            continue;
        mw_slot *slot;
        newcomer who = {.start = identity.start,
                        .time = time,
                        .pid = pid,
                        .ppid = identity.ppid,
                        .valid = identity.valid};
        error = add_process(f, &who, &slot);
        if (error) {
            mw_platform_detach(f->platform, handle);
            return error;
        }
        slot->handle = handle;
        slot->foreign = f->has_other_children && pid != f->root_pid &&
                        identity.ppid == f->adopter_pid;
        error = begin_image(f, slot, time);
        if (error)
            return error;
    }
    f->found.count = 0;
    return 0;
}

/* -- Its end -- */

/* Takes the wait status of a zombie that is our child, so that it goes away. */
static int reap(mw_follower *f, const mw_slot *slot, int *status,
                uint64_t *peak) {
    return !slot->foreign && slot->handle &&
           mw_platform_reap(f->platform, slot->handle, status, peak);
}

/* What was learnt of all its life. */
static int report_sums(mw_follower *f, mw_slot *slot, int64_t time) {
    int error = 0;
    /* Without its last record, or killed after an execve that failed, it has
       grown since, for all we know. */
    if (slot->known & MW_HAS_WATERMARK)
        error =
            report_watermark(f, slot, time, slot->peak,
                             slot->has_record || slot->exits ? MW_FINAL : 0);
    else if (slot->attempt.valid & MW_HAS_WATERMARK)
        error = report_watermark(f, slot, time, slot->attempt.peak, 0);
    if (error)
        return error;
    if (slot->known & MW_HAS_FOOTPRINT) {
        mw_observation *record = observe(f, time, MW_FOOTPRINT, slot);
        if (!record)
            return -ENOMEM;
        record->second = slot->footprint_peak;
        record->valid = MW_HAS_WATERMARK | MW_FINAL;
    }
    if (slot->known & MW_HAS_CPU) {
        mw_observation *record = observe(f, time, MW_CPU, slot);
        if (!record)
            return -ENOMEM;
        record->value = (uint64_t)slot->user;
        record->second = (uint64_t)slot->system;
        record->valid = MW_HAS_CPU;
    }
    if (slot->known & MW_HAS_IO) {
        mw_observation *record = observe(f, time, MW_IO, slot);
        if (!record)
            return -ENOMEM;
        record->value = slot->read_bytes;
        record->second = slot->written_bytes;
        record->valid = MW_HAS_IO;
    }
    return 0;
}

static int report_exit(mw_follower *f, mw_slot *slot, int64_t time,
                       enum mw_life life) {
    if (slot->leaving)
        time = slot->ended_at;
    int error = 0;
    if (slot->executed) {
        error = end_image(f, slot, slot->executed_at);
        slot->executed = 0;
        if (!error)
            error = report_unseen_image(f, slot, slot->executed_at, 0);
    } else if (!slot->has_image) {
        int64_t since = (slot->known & MW_HAS_START) ? slot->start : time;
        error = report_unseen_image(f, slot, since,
                                    has_events(f) ? MW_INHERITED : 0);
    }
    int status;
    uint64_t peak = 0;
    if (life == MW_ENDED && reap(f, slot, &status, &peak)) {
        slot->known |= MW_HAS_STATUS;
        slot->status = status;
    }
    if (peak) {
        slot->known |= MW_HAS_WATERMARK;
        slot->peak = peak;
        slot->has_record = 1;
    }
    if (!error)
        error = report_sums(f, slot, time);
    if (error)
        return error;
    mw_observation *record = observe(f, time, MW_EXITED, slot);
    if (!record)
        return -ENOMEM;
    if (slot->known & MW_HAS_STATUS) {
        record->value = (uint64_t)slot->status;
        record->valid = MW_HAS_STATUS;
    }
    if (slot->end_is_known)
        record->valid |= MW_BY_EVENT;
    slot->ended = 1;
    slot->rss = 0;
    if (slot->pid == f->root_pid)
        f->root_ended = 1;
    return 0;
}

/* What was taken for its end was that of its first thread; or its record came
   while it was on its way out. */
static void lives_on(mw_slot *slot) {
    slot->leaving = slot->end_is_known = 0;
    if (!slot->has_record)
        slot->known &= ~(uint32_t)MW_HAS_STATUS;
}

/* Its first thread has ended, and it has if no other is left. */
static int look_at_end(mw_follower *f, int32_t pid, int64_t time) {
    int error = 0;
    mw_slot *slot = find(f, pid);
    if (!slot || slot->ended || !slot->leaving)
        return 0;
    if (!slot->handle && !slot->exits) {
        error = attach(f, slot, time);
        slot = find(f, pid);
    }
    mw_reading reading = {.life = MW_VANISHED};
    if (!error && slot->handle)
        error = look(f, slot, time, &reading);
    slot->life = (uint8_t)reading.life;
    if (error || reading.life != MW_ALIVE || slot->exits)
        return error;
    lives_on(slot);
    slot->first_ended = 1;
    int is_new = is_new_image(f, slot, reading.new_image);
    if (slot->executed || (is_new && !awaits_exec(f, slot, is_new)))
        error = begin_image(f, slot, time);
    return error;
}

/* When all is told of its end. */
static int conclude(mw_follower *f, int32_t pid, int64_t time) {
    mw_slot *slot = find(f, pid);
    /* On its way out, or called back by a signal: the next pass will see. After
       the root's end nobody is waited for: the closing pass tells of it. */
    if (!slot || slot->ended || !slot->leaving ||
        (!f->closing && (pid == f->root_pid || slot->life == MW_ALIVE)))
        return 0;
    return report_exit(f, slot, time, slot->life);
}

/* Word of the end has come; whether it is true is looked at when all news is
   applied. `is_known`: at that very time, not some time before. */
static int leave(mw_follower *f, mw_slot *slot, int64_t time,
                 uint8_t is_known) {
    slot->leaving = 1;
    slot->end_is_known = is_known;
    slot->ended_at = time;
    return mw_pids_add(&f->leaving, slot->pid);
}

/* -- News -- */

static void set_name(const mw_follower *f, mw_slot *slot, const mw_news *n) {
    size_t length = n->text_length;
    if (length >= sizeof slot->name)
        length = sizeof slot->name - 1;
    if (!length)
        return;
    memcpy(slot->name, f->news.text + n->text, length);
    slot->name[length] = '\0';
}

/* Whose pid is in use again has ended, although nobody said so. */
static int make_way(mw_follower *f, int32_t pid, int64_t time) {
    mw_slot *slot = find(f, pid);
    return slot && !slot->ended ? report_exit(f, slot, time, MW_VANISHED) : 0;
}

/* Of the process that did something: after messages were lost its pid may have
   been taken up by another one, not of the job, unheard of. */
static int is_true(mw_follower *f, int32_t pid, int64_t time, int *is) {
    mw_slot *slot = find(f, pid);
    *is = slot != NULL;
    if (!slot || slot->ended || has_events(f) || slot->verified == f->drains)
        return 0;
    mw_handle *handle;
    mw_identity identity = {0};
    int error = mw_platform_attach(f->platform, pid, &handle, &identity);
    slot->verified = f->drains;
    if (error || !handle)
        return error;
    mw_platform_detach(f->platform, handle);
    *is = !(identity.valid & MW_HAS_START) || is_same(slot, identity.start);
    return *is ? 0 : report_exit(f, slot, time, MW_VANISHED);
}

static int on_fork(mw_follower *f, const mw_news *n) {
    mw_slot *slot = find(f, n->pid);
    if (slot && !slot->ended && !slot->leaving && is_same(slot, n->time)) {
        /* It was looked at before. Now its start is known exactly. */
        slot->start = n->time;
        slot->known |= MW_HAS_START;
        slot->ppid = n->ppid;
        return report_start(f, slot, n->time, 0);
    }
    int is_of_job = 1;
    int error = 0;
    if (n->pid != f->root_pid)
        error = is_true(f, n->ppid, n->time, &is_of_job);
    if (error || !is_of_job)
        return error;
    error = make_way(f, n->pid, n->time);
    newcomer who = {.start = n->time,
                    .time = n->time,
                    .pid = n->pid,
                    .ppid = n->ppid,
                    .valid = MW_HAS_START,
                    .found_by = MW_BY_EVENT};
    if (!error)
        error = add_process(f, &who, &slot);
    return error ? error : mw_pids_add(&f->fresh, n->pid);
}

/* All threads but the one that executed something have ended in that, the
   first, too, if it was another. */
static void forget_threads(mw_slot *slot) {
    if (slot->leaving || slot->first_ended) {
        slot->has_record = 0;
        slot->peak = 0;
        slot->known &= ~(uint32_t)MW_HAS_WATERMARK;
    }
    slot->first_ended = 0;
    if (slot->leaving)
        lives_on(slot);
}

static int on_exec(mw_follower *f, const mw_news *n) {
    int is_of_job = find(f, n->pid) != NULL;
    int error = n->mark ? 0 : is_true(f, n->pid, n->time, &is_of_job);
    mw_slot *slot = find(f, n->pid);
    if (error || !is_of_job || slot->ended)
        return error;
    forget_threads(slot);
    if (!slot->has_sums) /* else it may be of the end, which is told later */
        slot->known &= ~(uint32_t)MW_HAS_STATUS;
    error = mw_pids_add(&f->fresh, n->pid);
    int is_seen =
        slot->early_image && !n->mark &&
        (!slot->is_complete || n->time < slot->image_read_at + EXEC_LAG);
    slot->early_image = 0;
    if (is_seen) {
        /* It was looked at while it executed that, and again soon. */
        slot->image_retries = slot->is_complete ? 0 : IMAGE_RETRIES;
        slot->attempt = (mw_attempt){0};
        return error ? error
                     : report_image(f, slot, n->time, "",
                                    &(mw_image){.valid = MW_SAME_IMAGE});
    }
    if (slot->executed) {
        /* Two at once: nobody has looked at the one between. */
        if (!error)
            error = end_image(f, slot, slot->executed_at);
        if (!error)
            error = report_unseen_image(f, slot, slot->executed_at, 0);
    }
    /* An end that came before was that of its first thread, whose place the one
       that executed has taken. */
    slot->leaving = slot->end_is_known = 0;
    slot->name[0] = '\0';
    set_name(f, slot, n);
    slot->exec_due = 0;
    slot->executed = 1;
    slot->executed_at = n->time;
    return error;
}

/* Old kernels do not say which process a thread is of: `pid` is its own then,
   and the slot was found by that. */
static int is_of_first_thread(const mw_news *n) {
    return !n->tid || n->tid == n->pid;
}

/* What an EXIT or a LAST tells of all its life. What records say is later, and
   more exact. */
static void note_sums(mw_slot *slot, const mw_news *n) {
    if (n->valid & MW_HAS_FOOTPRINT) {
        slot->known |= MW_HAS_FOOTPRINT;
        slot->footprint_peak = n->footprint;
    }
    if (slot->has_sums)
        return;
    slot->known |= n->valid & (MW_HAS_CPU | MW_HAS_IO);
    if (n->valid & MW_HAS_CPU) {
        slot->user = n->user;
        slot->system = n->system;
    }
    if (n->valid & MW_HAS_IO) {
        slot->read_bytes = n->read_bytes;
        slot->written_bytes = n->written_bytes;
    }
}

static int on_end(mw_follower *f, const mw_news *n) {
    mw_slot *slot = find(f, n->pid);
    if (!slot || slot->ended)
        return 0;
    int is_first = is_of_first_thread(n);
    if ((n->valid & MW_HAS_STATUS) && !slot->has_sums && !slot->exits) {
        /* Another thread that ends with something has ended them all, most
           likely, by exit_group or a signal. But when the first thread then
           ends with nothing it was on its way out before, or that thread had
           ended alone. */
        int is_in_doubt = is_first && !n->status && slot->status &&
                          (slot->known & MW_HAS_STATUS);
        slot->known |= MW_HAS_STATUS;
        slot->status = n->status;
        if (is_in_doubt)
            slot->known &= ~(uint32_t)MW_HAS_STATUS;
    }
    note_sums(slot, n);
    return is_first ? leave(f, slot, n->time, 1) : 0;
}

/* Brings the image in line with what the hook has read. */
static int see_image(mw_follower *f, mw_slot *slot, const mw_news *n) {
    const char *text = f->news.text + n->text;
    mw_image image = {.mark = n->mark,
                      .length = n->text_length,
                      .valid =
                          n->valid & (MW_HAS_EXE | MW_HAS_CWD | MW_HAS_ARGV |
                                      MW_ARGV_CUT | MW_INHERITED)};
    const mw_attempt *tried = &slot->attempt;
    int64_t since = tried->time ? tried->time : n->time;
    if (slot->executed) {
        since = slot->executed_at;
    } else if (!slot->has_image) {
        if (!tried->time || (image.valid & MW_INHERITED))
            since = slot->start;
    } else if (is_reported(slot, &image, text) ||
               (has_events(f) && !slot->inherited) ||
               (!slot->inherited && !slot->mark && !slot->is_complete)) {
        /* Events tell of each that follows. And one that was seen in the middle
           of its execve is the next to be heard of. */
        if (slot->is_complete || !(image.valid & MW_HAS_ARGV))
            return 0;
        image.valid |= MW_SAME_IMAGE;
        return report_image(f, slot, n->time, text, &image);
    } else if ((image.valid & MW_INHERITED) || n->time < slot->image_read_at) {
        return 0; /* of one before that which was looked at */
    }
    if (since < slot->since)
        since = slot->since;
    int error = end_image(f, slot, since);
    expect_image(slot, n->time);
    slot->hook_first = 1;
    return error ? error : report_image(f, slot, since, text, &image);
}

/* Every process that passes the hook is of the job. */
static int on_hook(mw_follower *f, const mw_news *n) {
    mw_slot *slot = find(f, n->pid);
    int error = 0;
    if (slot && (n->valid & MW_HAS_START) && !is_same(slot, n->start)) {
        error = make_way(f, n->pid, n->start);
        slot = NULL;
    }
    if (!error && !slot) {
        newcomer who = {.start = n->start,
                        .time = (n->valid & MW_HAS_START) ? n->start : n->time,
                        .pid = n->pid,
                        .ppid = n->ppid,
                        .valid = n->valid,
                        .found_by = MW_BY_HOOK};
        error = add_process(f, &who, &slot);
        /* Whether it is still there is found out by looking. */
        if (!error)
            error = mw_pids_add(&f->fresh, n->pid);
    }
    if (error || slot->ended)
        return error;
    if (n->text_length)
        error = see_image(f, slot, n);
    if (error)
        return error;
    if (n->kind == MW_NEWS_EXECUTING) {
        const char *text = f->news.text + n->text;
        mw_image image = {n->mark, n->text_length, n->valid};
        /* What it has executed in that may have been seen before. */
        if (slot->has_image && !is_reported(slot, &image, text) &&
            n->time < slot->image_read_at)
            return 0;
        slot->attempt = (mw_attempt){
            .time = n->time,
            .peak = n->peak,
            .mark = n->mark,
            .text = hash_of(text, n->text_length),
            .valid = n->valid,
        };
        return 0;
    }
    slot->attempt = (mw_attempt){0};
    slot->exits = 1;
    /* What records say is later, and more exact. */
    int is_last = !slot->has_record || slot->first_ended;
    if ((n->valid & MW_HAS_WATERMARK) && is_last) {
        slot->known |= MW_HAS_WATERMARK;
        slot->peak = n->peak;
    }
    note_sums(slot, n);
    if (n->valid & MW_HAS_STATUS) {
        slot->known |= MW_HAS_STATUS;
        slot->status = n->status;
    }
    return leave(f, slot, n->time, 1);
}

static int is_its_record(const mw_slot *slot, const mw_news *n) {
    return !(slot->known & MW_HAS_START) ||
           n->time - n->elapsed > slot->start - SAME_START;
}

/* The first thread ends with the last image, or in the execve before it; others
   may have ended long before, in another image, but not those that end after.
 */
static void fold_peak(mw_slot *slot, const mw_news *n) {
    int is_first = is_of_first_thread(n);
    if (!is_first && !slot->first_ended && !slot->has_record)
        return;
    if (is_first)
        slot->peak = slot->first_ended = 0;
    slot->has_record = 1;
    slot->known |= n->valid & MW_HAS_WATERMARK;
    if ((n->valid & MW_HAS_WATERMARK) && n->peak > slot->peak)
        slot->peak = n->peak;
}

/* Adds a thread's record to what is known of its process. */
static int fold(mw_follower *f, mw_slot *slot, const mw_news *n) {
    if (!slot->ppid && n->ppid) { /* it could not be read */
        slot->ppid = n->ppid;
        int error = report_start(f, slot, n->time - n->elapsed, 0);
        if (error)
            return error;
    }
    if (!slot->has_sums) /* what the hook saw of them is less exact */
        slot->user = slot->system = 0;
    slot->has_sums = 1;
    slot->known |= n->valid & (MW_HAS_CPU | MW_HAS_IO);
    slot->user += n->user;
    slot->system += n->system;
    slot->read_bytes += n->read_bytes;
    slot->written_bytes += n->written_bytes;
    fold_peak(slot, n);
    /* That of the thread that ended last is the process's. */
    if (slot->has_record && (n->valid & MW_HAS_STATUS)) {
        slot->known |= MW_HAS_STATUS;
        slot->status = n->status;
    }
    if (!is_of_first_thread(n))
        return 0;
    set_name(f, slot, n);
    if (!hears_of_execs(f) && slot->has_image && slot->inherited &&
        !(n->valid & MW_INHERITED)) {
        /* It has executed something that nobody has seen. */
        slot->executed = 1;
        slot->executed_at = slot->image_read_at;
    }
    return slot->leaving || has_events(f) ? 0 : leave(f, slot, n->time, 0);
}

/* Takes up a process of which nothing but its exit record is known: events tell
   of every process, if somewhat later than this, but without them it is known
   by its parent, once that is. */
static int add_by_record(mw_follower *f, const mw_news *n) {
    mw_slot *slot = find(f, n->pid);
    int is_known = slot && is_its_record(slot, n);
    int is_member = find(f, n->ppid) ||
                    (n->ppid == f->adopter_pid && !f->has_other_children);
    if (is_known || !n->ppid || n->tid != n->pid || !is_member)
        return 0;
    newcomer who = {.time = n->time - n->elapsed,
                    .pid = n->pid,
                    .ppid = n->ppid,
                    .found_by = MW_BY_RECORD};
    int error = make_way(f, n->pid, who.time);
    return error ? error : add_process(f, &who, &slot);
}

static int on_record(mw_follower *f, const mw_news *n, mw_news_list *kept) {
    mw_slot *slot = find(f, n->pid);
    if (slot && !slot->ended && is_its_record(slot, n))
        return fold(f, slot, n);
    if (slot && slot->ended && is_its_record(slot, n))
        return 0;
    uint64_t now = has_events(f) ? f->drains : f->rounds;
    if (n->mark && now - n->mark >= PATIENCE)
        return 0;
    mw_news *copy = mw_news_copy(kept, n, f->news.text + n->text);
    if (!copy)
        return -ENOMEM;
    copy->mark = n->mark ? n->mark : now;
    return 0;
}

static int on_records(mw_follower *f) {
    const mw_news *items = f->news.items;
    int error = 0;
    /* The newest first: a parent's record comes after its child's. */
    for (size_t i = f->news.count; !has_events(f) && !error && i-- > 0;)
        if (items[i].kind == MW_NEWS_RECORD)
            error = add_by_record(f, &items[i]);
    mw_news_clear(&f->early);
    for (size_t i = 0; !error && i < f->news.count; i++)
        if (items[i].kind == MW_NEWS_RECORD)
            error = on_record(f, &items[i], &f->early);
    return error;
}

/* The records that could not be placed in the last round come first. */
static int fetch_news(mw_follower *f) {
    mw_news_list early = f->early;
    f->early = f->news;
    f->news = early;
    mw_news_clear(&f->early);
    return mw_platform_news(f->platform, f->closing, &f->news);
}

/* Applies the news, but takes no look at any process. */
static int apply_news(mw_follower *f) {
    f->drains++;
    int error = fetch_news(f);
    for (size_t i = 0; !error && i < f->news.count; i++) {
        const mw_news *n = &f->news.items[i];
        switch (n->kind) {
        case MW_NEWS_FORK: error = on_fork(f, n); break;
        case MW_NEWS_EXEC: error = on_exec(f, n); break;
        case MW_NEWS_EXIT: error = on_end(f, n); break;
        case MW_NEWS_EXECUTING:
        case MW_NEWS_LAST: error = on_hook(f, n); break;
        default: break;
        }
    }
    return error ? error : on_records(f);
}

/* Looks at what has forked or executed something. */
static int look_at_fresh(mw_follower *f, int64_t time) {
    int error = 0;
    for (size_t i = 0; !error && i < f->fresh.count; i++) {
        mw_slot *slot = find(f, f->fresh.pid[i]);
        if (!slot || slot->ended || slot->leaving)
            continue;
        if (!slot->handle)
            error = attach(f, slot, time);
        else if (slot->executed)
            error = begin_image(f, slot, time);
        else if (slot->image_retries)
            error = retry_image(f, slot, time);
    }
    f->fresh.count = 0;
    return error;
}

/* Looks at what was said to end. Who is gone may have been told of since the
   news were fetched, by its last thread or the hook: so they are once more.
   What is said to end in those has its turn the next time. */
static int look_at_leaving(mw_follower *f, int64_t time) {
    size_t count = f->leaving.count;
    int error = 0;
    if (!count)
        return 0;
    for (size_t i = 0; !error && i < count; i++)
        error = look_at_end(f, f->leaving.pid[i], time);
    if (!error)
        error = apply_news(f);
    for (size_t i = 0; !error && i < count; i++)
        error = conclude(f, f->leaving.pid[i], time);
    f->leaving.count -= count;
    memmove(f->leaving.pid, f->leaving.pid + count,
            f->leaving.count * sizeof *f->leaving.pid);
    return error;
}

static int look_at_news(mw_follower *f, int64_t time) {
    int error = look_at_fresh(f, time);
    if (!error)
        error = look_at_leaving(f, time);
    /* Those that were told of meanwhile: what nobody has looked at yet would
       pass for gone. */
    return error ? error : look_at_fresh(f, time);
}

static int hear(mw_follower *f, int64_t time) {
    int error = apply_news(f);
    return error ? error : look_at_news(f, time);
}

static int is_member(const void *table, int32_t pid) {
    return mw_table_find(table, pid) >= 0;
}

/* Follows those who have joined the job unheard of. */
static int find_joined(mw_follower *f, int64_t time) {
    int error =
        mw_platform_discover(f->platform, is_member, &f->table, &f->found);
    return error ? error : adopt_found(f, time);
}

int mw_follow_news(mw_follower *f, int64_t time) {
    int error = hear(f, time);
    f->found.count = 0; /* the next tick finds them again */
    /* Word of a fork may come without the child's pid. */
    if (!error && (mw_platform_sources(f->platform) & MW_KQUEUE))
        error = find_joined(f, time);
    return error;
}

/* -- A pass over all -- */

/* Reports memory when it changed, or when an inspection is due. */
static int report_memory(mw_follower *f, mw_slot *slot, int64_t time,
                         const mw_reading *reading) {
    mw_inspection seen = {0};
    if (!has_own_memory(f, slot))
        return 0;
    int error;
    if (time >= slot->next_inspection) {
        error = mw_platform_inspect(f->platform, slot->handle, &seen);
        if (error)
            return error;
        schedule_inspection(slot, time);
        int is_new = is_new_image(f, slot, seen.new_image);
        if (awaits_exec(f, slot, is_new))
            return 0;
        if (is_new) {
            error = begin_image(f, slot, time);
            if (error || has_events(f)) /* the slot may have moved */
                return error;
        }
    }
    error = report_footprint(f, slot, time, reading);
    if (error)
        return error;
    int raised =
        (seen.valid & MW_HAS_WATERMARK) && seen.watermark > slot->watermark;
    if (slot->has_rss && slot->rss == reading->rss && !raised)
        return 0;
    mw_observation *record = report_rss(f, slot, time, reading->rss);
    if (!record)
        return -ENOMEM;
    if (raised) {
        record->second = slot->watermark = seen.watermark;
        record->valid |= MW_HAS_WATERMARK;
        note_size(f, seen.watermark);
    }
    return 0;
}

/* Whether word of its end is still to come, and worth waiting for. */
static int has_patience(const mw_follower *f, mw_slot *slot) {
    if (f->closing || !slot->patience)
        return 0;
    uint32_t sources = mw_platform_sources(f->platform);
    /* Without a first thread there is no telling which record is the last. */
    int first_pass = slot->patience == PATIENCE;
    int expected = has_events(f) || (sources && slot->pid == f->root_pid) ||
                   ((sources & MW_TASKSTATS) &&
                    (!slot->has_record || (slot->first_ended && first_pass))) ||
                   ((sources & MW_HOOK) && !slot->exits) ||
                   ((sources & MW_KQUEUE) && slot->handle && !slot->leaving);
    if (!expected)
        return 0;
    slot->patience--;
    return 1;
}

/* Whether news may still come of a process that was gone at the last look. */
static int may_be_heard_of(const mw_follower *f, const mw_slot *slot) {
    /* kqueue's last word is that of the end. */
    uint32_t sources = mw_platform_sources(f->platform) & ~(uint32_t)MW_KQUEUE;
    return slot->passes < PATIENCE && sources;
}

/* A process that is gone, with or without word of it. */
static int visit_gone(mw_follower *f, mw_slot *slot, int64_t time,
                      enum mw_life life, int *vanished) {
    int is_over = slot->leaving && slot->exits && slot->pid != f->root_pid;
    if (is_over || !has_patience(f, slot)) {
        *vanished = life == MW_VANISHED && !may_be_heard_of(f, slot);
        return report_exit(f, slot, time, life);
    }
    /* It holds nothing any more. */
    if (slot->has_rss && slot->rss && !report_rss(f, slot, time, 0))
        return -ENOMEM;
    if (slot->has_footprint && slot->footprint) {
        mw_reading nothing = {.valid = MW_HAS_FOOTPRINT};
        return report_footprint(f, slot, time, &nothing);
    }
    slot->footprint = 0;
    slot->has_footprint = 1;
    return 0;
}

/* A process whose end was reported. Sets *vanished when its slot can go. */
static int visit_ended(mw_follower *f, mw_slot *slot, int64_t time,
                       int *vanished) {
    mw_reading reading = {.life = MW_VANISHED};
    int error = 0;
    if (slot->handle)
        error = mw_platform_poll(f->platform, slot->handle, time, &reading,
                                 &f->found);
    /* A zombie may have become ours: an orphan nobody waited for. */
    int status;
    uint64_t peak;
    if (reading.life == MW_ENDED)
        reap(f, slot, &status, &peak);
    /* What the hook has seen of it comes before its end. */
    if (reading.life != MW_ALIVE && slot->passes < PATIENCE) {
        slot->passes++;
        /* Never looked at, it may be a zombie for long: its pid is not free. */
        if (slot->passes == PATIENCE && !slot->handle)
            error = hold(f, slot, &reading.life);
    }
    *vanished = reading.life == MW_VANISHED && !may_be_heard_of(f, slot);
    return error;
}

/* One process in one tick. */
static int visit(mw_follower *f, mw_slot *slot, int64_t time, uint32_t *flags,
                 int *vanished) {
    if (slot->ended)
        return visit_ended(f, slot, time, vanished);
    if (!slot->handle)
        return visit_gone(f, slot, time, MW_VANISHED, vanished);
    mw_reading reading = {0};
    int error = look(f, slot, time, &reading);
    if (error)
        return error;
    if (reading.life != MW_ALIVE)
        return visit_gone(f, slot, time, reading.life, vanished);
    int is_due = slot->exec_due != 0;
    int is_new = is_new_image(f, slot, reading.new_image);
    if (awaits_exec(f, slot, is_new && !is_due) && has_events(f) &&
        --slot->exec_due)
        return 0;
    if (is_due && !slot->executed && has_events(f)) {
        /* Word of it was lost. */
        slot->executed = 1;
        slot->executed_at = slot->attempt.time ? slot->attempt.time : time;
    }
    if (is_new || is_due) {
        error = begin_image(f, slot, time);
        if (has_events(f)) /* the slot may have moved */
            return error;
    } else if (slot->image_retries) {
        slot->image_retries--;
        error = retry_image(f, slot, time);
    }
    if (error)
        return error;
    if (reading.valid & MW_HAS_RSS)
        return report_memory(f, slot, time, &reading);
    *flags |= MW_TICK_PARTIAL;
    if (!slot->unreadable) {
        slot->unreadable = 1;
        f->unreadable++;
    }
    return 0;
}

/* Visits every process, those that are found on the way, too. */
static int visit_all(mw_follower *f, int64_t time, uint32_t *flags) {
    int error = 0;
    for (size_t i = 0; !error && i < f->table.count;) {
        int vanished = 0;
        error = visit(f, &f->table.slots[i], time, flags, &vanished);
        if (!error && vanished) {
            /* Before its pid may be taken up again. */
            if (f->table.slots[i].handle)
                mw_platform_detach(f->platform, f->table.slots[i].handle);
            mw_table_remove(&f->table, i);
        } else {
            i++;
        }
        if (!error && f->found.count)
            error = adopt_found(f, time);
    }
    return error;
}

/* Sums up the memory of all. Not while they are visited: news that come then
   may be of one that was visited before. Returns how many there are. */
static uint64_t add_up(mw_follower *f) {
    uint64_t live = 0;
    f->total = 0;
    for (size_t i = 0; i < f->table.count; i++) {
        const mw_slot *slot = &f->table.slots[i];
        if (!slot->ended) {
            live++;
            f->total += slot->rss;
        }
    }
    return live;
}

/* The same of the footprints, where there are any. */
static int add_up_footprints(mw_follower *f, int64_t time) {
    if (!f->has_footprint)
        return 0;
    mw_observation *record = observe(f, time, MW_FOOTPRINT, NULL);
    if (!record)
        return -ENOMEM;
    record->valid = MW_HAS_FOOTPRINT;
    for (size_t i = 0; i < f->table.count; i++) {
        mw_slot *slot = &f->table.slots[i];
        if (slot->ended)
            continue;
        if (slot->has_footprint)
            record->value += slot->footprint;
        else if (slot->handle && has_own_memory(f, slot))
            record->second++;
    }
    return 0;
}

static int pass_over(mw_follower *f, int64_t time, uint32_t *flags) {
    f->found.count = 0;
    if (!f->text && !(f->text = malloc(IMAGE_TEXT)))
        return -ENOMEM;
    int error = hear(f, time);
    f->rounds++;
    int first = !find(f, f->root_pid) && !f->last_serial;
    if (!error && first)
        error = mw_pids_add(&f->found, f->root_pid);
    if (!error)
        error = find_joined(f, time);
    if (!error && first && !find(f, f->root_pid))
        f->root_ended = 1;
    return error ? error : visit_all(f, time, flags);
}

int mw_follow_tick(mw_follower *f, int64_t time, uint32_t flags,
                   uint64_t skipped, int closing) {
    int error = pass_over(f, time, &flags);
    if (!error && closing) {
        /* What was found just now may have news of its own. */
        f->closing = 1;
        error = pass_over(f, time, &flags);
    }
    if (!error)
        error = add_up_footprints(f, time);
    if (error)
        return error;
    mw_observation *record = observe(f, time, MW_TICK, NULL);
    if (!record)
        return -ENOMEM;
    record->process = skipped;
    record->second = add_up(f);
    record->value = f->total;
    record->valid = flags | MW_HAS_RSS;
    return 0;
}

void mw_follow_end(mw_follower *f) {
    for (size_t i = 0; i < f->table.count; i++)
        if (f->table.slots[i].handle)
            mw_platform_detach(f->platform, f->table.slots[i].handle);
    mw_table_free(&f->table);
    mw_queue_free(&f->said);
    mw_news_free(&f->news);
    mw_news_free(&f->early);
    free(f->found.pid);
    free(f->fresh.pid);
    free(f->leaving.pid);
    free(f->text);
}
