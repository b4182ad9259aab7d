/* Reports: observations of a process, and what the last ones were. */
#include "follow_parts.h"

#include <errno.h>
#include <string.h>

/* A process is inspected this long after its image was first read, then each
   time its age has doubled, so that the last inspection lies in the second half
   of its life; and once a second while its memory changes. An inspection costs
   as much as ten readings. */
static const int64_t FIRST_INSPECTION = 16000000;
static const int64_t LIVELY_INSPECTION = 1000000000;

mw_observation *mw_observe(mw_follower *f, int64_t time, uint32_t kind,
                           const mw_slot *slot) {
    mw_observation *record = mw_queue_add(&f->reported);
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

void mw_schedule_inspection(mw_slot *slot, int64_t time) {
    slot->next_inspection = time + slot->inspection_gap;
    slot->inspection_gap *= 2;
}

void mw_note_size(mw_follower *f, uint64_t size) {
    if (size > f->largest)
        f->largest = size;
}

int mw_has_own_memory(mw_follower *f, mw_slot *slot) {
    if (slot->inherited && !slot->own_memory)
        slot->own_memory =
            !mw_platform_shares_memory(f->platform, slot->pid, slot->ppid);
    return !slot->inherited || slot->own_memory;
}

mw_observation *mw_report_rss(mw_follower *f, mw_slot *slot, int64_t time,
                              uint64_t rss, uint64_t shared) {
    mw_observation *record = mw_observe(f, time, MW_MEMORY, slot);
    if (record) {
        record->value = slot->rss = rss;
        record->third = slot->shared = shared;
        record->valid = MW_HAS_RSS;
        if (f->has_shared)
            record->valid |= MW_HAS_SHARED;
        slot->has_rss = 1;
        mw_note_size(f, rss);
        if (slot->next_inspection > time + LIVELY_INSPECTION) {
            slot->next_inspection = time + LIVELY_INSPECTION;
            slot->inspection_gap = LIVELY_INSPECTION;
        }
    }
    return record;
}

int mw_report_footprint(mw_follower *f, mw_slot *slot, int64_t time,
                        const mw_reading *reading) {
    if (!(reading->valid & MW_HAS_FOOTPRINT))
        return 0;
    uint64_t watermark =
        reading->valid & MW_HAS_WATERMARK ? reading->footprint_peak : 0;
    int raised = watermark > slot->footprint_watermark;
    if (slot->has_footprint && slot->footprint == reading->footprint && !raised)
        return 0;
    mw_observation *record = mw_observe(f, time, MW_FOOTPRINT, slot);
    if (!record)
        return -ENOMEM;
    record->value = slot->footprint = reading->footprint;
    record->valid = MW_HAS_FOOTPRINT;
    slot->has_footprint = 1;
    f->has_footprint = 1;
    if (raised) {
        record->second = slot->footprint_watermark = watermark;
        record->valid |= MW_HAS_WATERMARK;
    }
    return 0;
}

static int report_watermark(mw_follower *f, mw_slot *slot, int64_t time,
                            uint64_t peak, uint32_t final) {
    mw_observation *record = mw_observe(f, time, MW_MEMORY, slot);
    if (!record)
        return -ENOMEM;
    record->value = mw_platform_roughness(f->platform); /* see MEMORY, api.h */
    record->second = peak;
    record->valid = MW_HAS_WATERMARK | final;
    mw_note_size(f, peak);
    return 0;
}

uint64_t mw_hash_of(const char *text, size_t length) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

/* Notes that the process which forked this one shares memory with it. */
static void note_fork(mw_follower *f, const mw_slot *slot) {
    f->details.has_family = 1;
    mw_slot *parent = mw_find(f, slot->ppid);
    if (parent && parent != slot)
        parent->has_forks = 1;
}

int mw_report_image(mw_follower *f, mw_slot *slot, int64_t time,
                    const char *text, const mw_image *image) {
    size_t length = image->length;
    uint32_t valid = image->valid;
    char *room = mw_queue_text(&f->reported, length);
    mw_observation *record = room ? mw_observe(f, time, MW_IMAGE, slot) : NULL;
    if (!record)
        return -ENOMEM;
    memcpy(room, text, length);
    record->value = f->reported.text_count;
    record->second = length;
    record->valid = valid;
    f->reported.text_count += length;
    if (!(valid & MW_SAME_IMAGE) || !length)
        slot->since = time;
    if (!length)
        return 0;
    if (!(valid & MW_SAME_IMAGE)) {
        slot->has_footprint = 0;
        slot->footprint_watermark = 0;
    }
    if (mw_platform_sources(f->platform) & MW_HOOK)
        slot->text_hash = mw_hash_of(text, length);
    if (image->exec_id || !(valid & MW_SAME_IMAGE))
        slot->exec_id = image->exec_id;
    slot->has_image = 1;
    slot->inherited = (valid & MW_INHERITED) != 0;
    if (!(valid & MW_SAME_IMAGE))
        slot->has_forks = 0;
    if (slot->inherited)
        note_fork(f, slot);
    slot->is_complete = (valid & MW_HAS_ARGV) != 0;
    if (slot->is_complete || slot->inherited)
        slot->image_retries = 0;
    return 0;
}

int mw_is_image(const mw_image *image, const char *text, int is_fork,
                uint64_t exec_id, uint64_t hash) {
    if (is_fork || (image->valid & MW_INHERITED))
        return is_fork && (image->valid & MW_INHERITED);
    if (exec_id && image->exec_id)
        return exec_id == image->exec_id;
    return mw_hash_of(text, image->length) == hash;
}

int mw_is_reported(const mw_slot *slot, const mw_image *image,
                   const char *text) {
    return slot->has_image && mw_is_image(image, text, slot->inherited,
                                          slot->exec_id, slot->text_hash);
}

int mw_is_new_image(mw_follower *f, mw_slot *slot, int first_seen) {
    if (!first_seen || !slot->hook_first)
        return first_seen;
    slot->hook_first = 0;
    mw_image image;
    mw_platform_image(f->platform, slot->handle, f->text, IMAGE_TEXT, &image);
    return !image.length || !mw_is_reported(slot, &image, f->text);
}

int mw_report_unseen_image(mw_follower *f, mw_slot *slot, int64_t time,
                           uint32_t valid) {
    char text[sizeof slot->name + 1];
    size_t length = strlen(slot->name);
    memcpy(text, slot->name, length);
    text[length] = text[length + 1] = '\0';
    mw_image image = {.length = length + 2, .valid = valid};
    return mw_report_image(f, slot, time, text, &image);
}

int mw_end_image(mw_follower *f, mw_slot *slot, int64_t time) {
    int error = 0;
    if ((slot->attempt.valid & MW_HAS_WATERMARK) && slot->has_image)
        error = report_watermark(f, slot, time, slot->attempt.peak, MW_FINAL);
    slot->attempt = (mw_attempt){0};
    return error;
}

void mw_expect_memory(mw_slot *slot, int64_t time) {
    slot->watermark = 0;
    slot->has_rss = 0;
    slot->inspection_gap = FIRST_INSPECTION;
    mw_schedule_inspection(slot, time);
}

void mw_expect_image(mw_slot *slot, int64_t time) {
    mw_expect_memory(slot, time);
    slot->executed = slot->exec_due = slot->hook_first = 0;
    slot->image_retries = IMAGE_RETRIES;
}

int mw_report_start(mw_follower *f, const mw_slot *slot, int64_t time,
                    uint32_t found_by) {
    mw_observation *record = mw_observe(f, time, MW_STARTED, slot);
    if (!record)
        return -ENOMEM;
    record->ppid = slot->ppid;
    record->valid = (slot->known & MW_HAS_START) | found_by;
    record->second = (uint64_t)slot->start;
    const mw_slot *parent = mw_find(f, slot->ppid);
    if (parent && parent != slot) {
        record->value = parent->serial;
        record->valid |= MW_HAS_PARENT;
    }
    return 0;
}

int mw_reap(mw_follower *f, const mw_slot *slot, int *status, uint64_t *peak) {
    return !slot->foreign && slot->handle &&
           mw_platform_reap(f->platform, slot->handle, status, peak);
}

/* Reports what is known of all its life. */
static int report_sums(mw_follower *f, mw_slot *slot, int64_t time) {
    int error = 0;
    /* Without its last record, or if it was killed after an execve that failed,
       it may have grown since: then the peak is not final. */
    if (slot->known & MW_HAS_WATERMARK)
        error =
            report_watermark(f, slot, time, slot->peak,
                             slot->has_record || slot->exits ? MW_FINAL : 0);
    else if (slot->attempt.valid & MW_HAS_WATERMARK)
        error = report_watermark(f, slot, time, slot->attempt.peak, 0);
    if (error)
        return error;
    if (slot->known & MW_HAS_FOOTPRINT) {
        mw_observation *record = mw_observe(f, time, MW_FOOTPRINT, slot);
        if (!record)
            return -ENOMEM;
        record->second = slot->footprint_peak;
        record->valid = MW_HAS_WATERMARK | MW_FINAL;
    }
    if ((slot->known & MW_HAS_FAULTS) && (slot->inherited || slot->has_forks))
        error = mw_report_faults(f, slot, time, slot->faults);
    if (error)
        return error;
    if (slot->known & MW_HAS_CPU) {
        mw_observation *record = mw_observe(f, time, MW_CPU, slot);
        if (!record)
            return -ENOMEM;
        record->value = (uint64_t)slot->user;
        record->second = (uint64_t)slot->system;
        record->valid = MW_HAS_CPU;
    }
    if (slot->known & MW_HAS_IO) {
        mw_observation *record = mw_observe(f, time, MW_IO, slot);
        if (!record)
            return -ENOMEM;
        record->value = slot->read_bytes;
        record->second = slot->written_bytes;
        record->valid = MW_HAS_IO;
    }
    return 0;
}

int mw_report_exit(mw_follower *f, mw_slot *slot, int64_t time,
                   enum mw_life life) {
    if (slot->leaving)
        time = slot->ended_at;
    int error = 0;
    if (slot->executed) {
        error = mw_end_image(f, slot, slot->executed_at);
        slot->executed = 0;
        if (!error)
            error = mw_report_unseen_image(f, slot, slot->executed_at, 0);
    } else if (!slot->has_image) {
        int64_t since = (slot->known & MW_HAS_START) ? slot->start : time;
        error = mw_report_unseen_image(f, slot, since,
                                       mw_has_events(f) ? MW_INHERITED : 0);
    }
    int status;
    uint64_t peak = 0;
    if (life == MW_ENDED && mw_reap(f, slot, &status, &peak)) {
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
    mw_observation *record = mw_observe(f, time, MW_EXITED, slot);
    if (!record)
        return -ENOMEM;
    if (slot->known & MW_HAS_STATUS) {
        record->value = (uint64_t)slot->status;
        record->valid = MW_HAS_STATUS;
    }
    if (slot->end_is_known)
        record->valid |= MW_BY_EVENT;
    slot->ended = 1;
    slot->rss = slot->shared = 0;
    if (slot->pid == f->root_pid)
        f->root_ended = 1;
    return 0;
}
