/* Reading one process: what it runs, whether that is new, and its memory. */
#include "follow_parts.h"

#include <errno.h>

/* The most readings in a row of a process that executes one program after the
   other. */
enum { MOST_VIEWS = 3 };

int mw_awaits_exec(const mw_follower *f, mw_slot *slot, int new_image) {
    if (new_image && mw_has_events(f))
        slot->exec_due = PATIENCE + 1;
    return slot->exec_due != 0;
}

/* Completes the image that is reported by what a later reading has shown. */
static int complete_image(mw_follower *f, mw_slot *slot, int64_t time,
                          mw_image *image) {
    if (!image->length || !(image->valid & (MW_HAS_ARGV | MW_INHERITED)))
        return 0;
    image->valid |= MW_SAME_IMAGE;
    return mw_report_image(f, slot, time, f->text, image);
}

/* What one reading of a process shows. */
typedef struct {
    int64_t begun;
    mw_image image; /* its text is in f->text */
    mw_reading memory;
} view;

int mw_look(mw_follower *f, mw_slot *slot, int64_t time, mw_reading *out) {
    int error =
        mw_platform_poll(f->platform, slot->handle, time, out, &f->found);
    f->has_shared |= (out->valid & MW_HAS_SHARED) != 0;
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
    return mw_look(f, slot, time, &out->memory);
}

int mw_has_exec_events(const mw_follower *f) {
    return mw_has_events(f) || (mw_platform_sources(f->platform) & MW_HOOK);
}

/* Reads a process until the events of all it had executed by then have come, so
   that it is known which image was read. `*at` moves with the table; it is NULL
   if the process has ended meanwhile. */
static int view_it(mw_follower *f, mw_slot **at, int64_t time, view *out) {
    int32_t pid = (*at)->pid;
    uint64_t serial = (*at)->serial;
    for (int i = 0; i < MOST_VIEWS; i++) {
        int error = take_view(f, *at, time, out);
        if (!error && mw_has_exec_events(f))
            error = mw_apply_events(f);
        *at = mw_find(f, pid);
        if (*at && ((*at)->serial != serial || (*at)->ended))
            *at = NULL;
        if (error || !*at)
            return error;
        int is_later = mw_has_events(f)
                           ? (*at)->executed && (*at)->executed_at >= out->begun
                           : (*at)->attempt.time >= out->begun;
        if (!is_later && !out->memory.new_image)
            return 0;
    }
    return 0;
}

/* Reports a new image that a reading has shown, and its memory. */
static int report_view(mw_follower *f, mw_slot *slot, int64_t time,
                       const view *seen) {
    const mw_attempt *tried = &slot->attempt;
    int announced = slot->executed;
    int has_tried = /* in what is seen: that is yet to end, then */
        !announced && tried->time &&
        mw_is_image(&seen->image, f->text, (tried->valid & MW_INHERITED) != 0,
                    tried->exec_id, tried->text_hash);
    int64_t since = time;
    if (announced)
        since = slot->executed_at;
    else if (tried->time && !has_tried)
        since = tried->time;
    else if (!slot->has_image && mw_has_events(f))
        since = slot->start;
    /* Events that came since this tick began may be later than the tick. */
    if (since < slot->since)
        since = slot->since;
    if (slot->leaving && since > slot->ended_at)
        since = slot->ended_at;
    int error = has_tried ? 0 : mw_end_image(f, slot, since);
    mw_expect_image(slot, time);
    if (!error && seen->image.length)
        error = mw_report_image(f, slot, since, f->text, &seen->image);
    /* If it has gone meanwhile, what it executed is reported at its end. */
    slot->executed = announced && !seen->image.length;
    if (!error && slot->executed && seen->memory.life == MW_ALIVE) {
        /* It is there, but cannot be read: hidden by hidepid, for example. */
        error = mw_report_unseen_image(f, slot, since, 0);
        slot->executed = 0;
    }
    /* In the middle of execve: the memory may still be of the image before. */
    slot->early_image = !announced && slot->has_image && !slot->inherited;
    slot->image_read_at = seen->begun;
    if (!error && (seen->memory.valid & MW_HAS_RSS) &&
        !seen->memory.new_image && !(slot->early_image && mw_has_events(f)) &&
        mw_has_own_memory(f, slot)) {
        error =
            mw_report_rss(f, slot, time, seen->memory.rss, seen->memory.shared)
                ? 0
                : -ENOMEM;
        if (!error)
            error = mw_report_footprint(f, slot, time, &seen->memory);
    }
    return error;
}

/* Returns whether this image was read before, in the middle of its execve. */
static int was_in_execve(const mw_follower *f, const mw_slot *slot,
                         const view *seen) {
    if (slot->executed || !slot->has_image ||
        (slot->exec_id && seen->image.exec_id))
        return 0;
    if (slot->image_retries && seen->begun < slot->image_read_at + EXEC_LAG)
        return 1; /* most likely */
    /* The hook has not reported another execve since. */
    return !mw_has_events(f) && mw_has_exec_events(f) && !slot->attempt.time &&
           !slot->is_complete && !slot->inherited;
}

/* Returns whether the hook knows better what a process runs than this reading,
   which came before the hook's, or too early or too late. */
static int is_told_by_hook(const mw_slot *slot, const view *seen) {
    if (!slot->has_image)
        return 0;
    int is_past = !slot->inherited && (seen->image.valid & MW_INHERITED);
    int is_visible =
        seen->image.exec_id || (seen->image.valid & (MW_HAS_EXE | MW_HAS_ARGV));
    return slot->exits || is_past || !is_visible;
}

int mw_begin_image(mw_follower *f, mw_slot *slot, int64_t time) {
    view seen;
    int error = view_it(f, &slot, time, &seen);
    if (error || !slot)
        return error;
    /* The hook may have reported it meanwhile. */
    if (mw_has_events(f) && slot->has_image && !slot->executed)
        return 0;
    int is_hooked = !mw_has_events(f) && mw_has_exec_events(f);
    if (is_hooked && is_told_by_hook(slot, &seen))
        return 0;
    if (is_hooked && mw_is_reported(slot, &seen.image, f->text)) {
        slot->hook_first = 0;
        return slot->is_complete ? 0
                                 : complete_image(f, slot, time, &seen.image);
    }
    if (was_in_execve(f, slot, &seen))
        return complete_image(f, slot, time, &seen.image);
    return report_view(f, slot, time, &seen);
}

int mw_retry_image(mw_follower *f, mw_slot *slot, int64_t time) {
    mw_image image;
    mw_platform_image(f->platform, slot->handle, f->text, IMAGE_TEXT, &image);
    if (slot->exec_id && image.exec_id && slot->exec_id != image.exec_id &&
        !mw_has_events(f))
        return mw_begin_image(f, slot, time);
    return complete_image(f, slot, time, &image);
}

/* Attaches to a process known from events, unless it has gone. */
static int take_hold(mw_follower *f, mw_slot *slot) {
    mw_identity identity = {0};
    mw_handle *handle;
    int error = mw_platform_attach(f->platform, slot->pid, &handle, &identity);
    if (error || !handle)
        return error;
    if ((identity.valid & MW_HAS_START) && !mw_is_same(slot, identity.start))
        mw_platform_detach(f->platform, handle); /* the pid was reused */
    else
        slot->handle = handle;
    return 0;
}

int mw_attach(mw_follower *f, mw_slot *slot, int64_t time) {
    int error = take_hold(f, slot);
    if (error || !slot->handle)
        return error;
    if (!slot->has_image || slot->executed)
        return mw_begin_image(f, slot, time);
    /* The hook has read it before. */
    mw_expect_memory(slot, time);
    return 0;
}

int mw_hold(mw_follower *f, mw_slot *slot, enum mw_life *life) {
    int error = take_hold(f, slot);
    if (!error && slot->handle) {
        *life = MW_ENDED;
        slot->ticks_ended = 0;
    }
    return error;
}
