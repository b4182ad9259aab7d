/* Ticks: all processes of the job are visited, and their sizes added up. */
#include "follow_parts.h"

#include <errno.h>
#include <stdlib.h>

/* Reports memory when it changed, or when an inspection is due. */
static int report_memory(mw_follower *f, mw_slot *slot, int64_t time,
                         const mw_reading *reading) {
    mw_inspection seen = {0};
    if (!mw_has_own_memory(f, slot))
        return 0;
    int error, is_new = 0, is_due = time >= slot->next_inspection;
    if (is_due || mw_wants_details(f, slot, reading)) {
        error = mw_platform_inspect(f->platform, slot->handle, &seen);
        if (error)
            return error;
        if (is_due)
            mw_schedule_inspection(slot, time);
        is_new = mw_is_new_image(f, slot, seen.new_image);
        if (mw_awaits_exec(f, slot, is_new))
            return 0;
        if (is_new) {
            error = mw_begin_image(f, slot, time);
            if (error || mw_has_events(f)) /* the slot may have moved */
                return error;
        }
    }
    /* If the image is new, the reading may be of the one before. */
    error = is_new ? 0 : mw_report_footprint(f, slot, time, reading);
    if (error)
        return error;
    int raised =
        (seen.valid & MW_HAS_WATERMARK) && seen.watermark > slot->watermark;
    if (!slot->has_rss || slot->rss != reading->rss ||
        slot->shared != reading->shared || raised) {
        mw_observation *record =
            mw_report_rss(f, slot, time, reading->rss, reading->shared);
        if (!record)
            return -ENOMEM;
        if (raised) {
            record->second = slot->watermark = seen.watermark;
            record->valid |= MW_HAS_WATERMARK;
            mw_note_size(f, seen.watermark);
        }
    }
    return mw_report_details(f, slot, time, reading, &seen);
}

/* Returns whether the event of its end is still to come, and is waited for. */
static int has_patience(const mw_follower *f, mw_slot *slot) {
    if (f->closing || !slot->patience)
        return 0;
    uint32_t sources = mw_platform_sources(f->platform);
    /* If the first thread has ended, it is not known which record is the
       last. */
    int first_tick = slot->patience == PATIENCE;
    int expected = mw_has_events(f) || (sources && slot->pid == f->root_pid) ||
                   ((sources & MW_TASKSTATS) &&
                    (!slot->has_record || (slot->first_ended && first_tick))) ||
                   ((sources & MW_HOOK) && !slot->exits) ||
                   ((sources & MW_KQUEUE) && slot->handle && !slot->leaving);
    if (!expected)
        return 0;
    slot->patience--;
    return 1;
}

/* Returns whether events may still come of a process that has gone. */
static int may_have_events(const mw_follower *f, const mw_slot *slot) {
    /* The last event of kqueue is that of the end. */
    uint32_t sources = mw_platform_sources(f->platform) & ~(uint32_t)MW_KQUEUE;
    return slot->ticks_ended < PATIENCE && sources;
}

/* Visits a process that is gone, with or without the event of its end. */
static int visit_gone(mw_follower *f, mw_slot *slot, int64_t time,
                      enum mw_life life, int *vanished) {
    int is_over = slot->leaving && slot->exits && slot->pid != f->root_pid;
    if (is_over || !has_patience(f, slot)) {
        *vanished = life == MW_VANISHED && !may_have_events(f, slot);
        return mw_report_exit(f, slot, time, life);
    }
    /* It holds nothing any more. */
    if (slot->has_rss && slot->rss && !mw_report_rss(f, slot, time, 0, 0))
        return -ENOMEM;
    if (slot->has_footprint && slot->footprint) {
        mw_reading nothing = {.valid = MW_HAS_FOOTPRINT};
        return mw_report_footprint(f, slot, time, &nothing);
    }
    slot->footprint = 0;
    slot->has_footprint = 1;
    return 0;
}

/* Visits a process whose end was reported. Sets `*vanished` if its slot can be
   removed. */
static int visit_ended(mw_follower *f, mw_slot *slot, int64_t time,
                       int *vanished) {
    mw_reading reading = {.life = MW_VANISHED};
    int error = 0;
    if (slot->handle)
        error = mw_platform_poll(f->platform, slot->handle, time, &reading,
                                 &f->found);
    /* A zombie may have become our child: an orphan that was not waited for. */
    int status;
    uint64_t peak;
    if (reading.life == MW_ENDED)
        mw_reap(f, slot, &status, &peak);
    /* Events of the hook come before the end. */
    if (reading.life != MW_ALIVE && slot->ticks_ended < PATIENCE) {
        slot->ticks_ended++;
        /* If it was never read, it may be a zombie for long, and its pid not
           free. */
        if (slot->ticks_ended == PATIENCE && !slot->handle)
            error = mw_hold(f, slot, &reading.life);
    }
    *vanished = reading.life == MW_VANISHED && !may_have_events(f, slot);
    return error;
}

/* Visits one process in one tick. */
static int visit(mw_follower *f, mw_slot *slot, int64_t time, uint32_t *flags,
                 int *vanished) {
    if (slot->ended)
        return visit_ended(f, slot, time, vanished);
    if (!slot->handle)
        return visit_gone(f, slot, time, MW_VANISHED, vanished);
    mw_reading reading = {0};
    int error = mw_look(f, slot, time, &reading);
    if (error)
        return error;
    if (reading.life != MW_ALIVE)
        return visit_gone(f, slot, time, reading.life, vanished);
    int is_due = slot->exec_due != 0;
    int is_new = mw_is_new_image(f, slot, reading.new_image);
    if (mw_awaits_exec(f, slot, is_new && !is_due) && mw_has_events(f) &&
        --slot->exec_due)
        return 0;
    if (is_due && !slot->executed && mw_has_events(f)) {
        /* The event of the exec was lost. */
        slot->executed = 1;
        slot->executed_at = slot->attempt.time ? slot->attempt.time : time;
    }
    if (is_new || is_due) {
        error = mw_begin_image(f, slot, time);
        if (mw_has_events(f)) /* the slot may have moved */
            return error;
    } else if (slot->image_retries) {
        slot->image_retries--;
        error = mw_retry_image(f, slot, time);
    }
    if (error)
        return error;
    if (reading.valid & MW_HAS_RSS)
        return report_memory(f, slot, time, &reading);
    /* Executed as another user, it no longer holds what it held before. */
    if (slot->rss && !slot->has_rss && !mw_report_rss(f, slot, time, 0, 0))
        return -ENOMEM;
    *flags |= MW_TICK_PARTIAL;
    if (!slot->unreadable) {
        slot->unreadable = 1;
        f->unreadable++;
    }
    return 0;
}

/* Visits every process, also those that are found on the way. */
static int visit_all(mw_follower *f, int64_t time, uint32_t *flags) {
    int error = 0;
    for (size_t i = 0; !error && i < f->table.count;) {
        int vanished = 0;
        error = visit(f, &f->table.slots[i], time, flags, &vanished);
        if (!error && vanished) {
            /* Before its pid may be reused. */
            if (f->table.slots[i].handle)
                mw_platform_detach(f->platform, f->table.slots[i].handle);
            mw_table_remove(&f->table, i);
        } else {
            i++;
        }
        if (!error && f->found.count)
            error = mw_adopt_found(f, time);
    }
    return error;
}

/* Adds up the memory of all processes, and returns how many there are. Not
   while they are visited: events that come then may be of one that was visited
   before. */
static uint64_t add_up(mw_follower *f) {
    uint64_t live = 0;
    f->total = f->shared = f->largest_now = 0;
    for (size_t i = 0; i < f->table.count; i++) {
        const mw_slot *slot = &f->table.slots[i];
        if (!slot->ended) {
            live++;
            f->total += slot->rss;
            f->shared += slot->shared;
            if (slot->rss > f->largest_now)
                f->largest_now = slot->rss;
        }
    }
    /* The lower and the upper bound are worked out by the reader; it is woken
       by what the footprint cannot exceed, except for swap and huge pages. */
    if (f->has_shared) {
        f->footprint = f->total + mw_tmpfs_stored(&f->tmpfs);
        f->own = f->total - f->shared + mw_tmpfs_written(&f->tmpfs);
    }
    return live;
}

/* Does the same for footprints, if there are any, and reports the sum. */
static int add_up_footprints(mw_follower *f, int64_t time) {
    if (!f->has_footprint)
        return 0;
    mw_observation *record = mw_observe(f, time, MW_FOOTPRINT, NULL);
    if (!record)
        return -ENOMEM;
    record->valid = MW_HAS_FOOTPRINT;
    for (size_t i = 0; i < f->table.count; i++) {
        mw_slot *slot = &f->table.slots[i];
        if (slot->ended)
            continue;
        if (slot->has_footprint)
            record->value += slot->footprint;
        else if (slot->handle && mw_has_own_memory(f, slot))
            record->second++;
    }
    f->footprint = record->value;
    return 0;
}

static int visit_job(mw_follower *f, int64_t time, uint32_t *flags) {
    f->found.count = 0;
    if (!f->text && !(f->text = malloc(IMAGE_TEXT)))
        return -ENOMEM;
    int error = mw_handle_events(f, time);
    f->ticks++;
    int first = !mw_find(f, f->root_pid) && !f->last_serial;
    if (!error && first)
        error = mw_pids_add(&f->found, f->root_pid);
    if (!error)
        error = mw_find_joined(f, time);
    if (!error && first && !mw_find(f, f->root_pid))
        f->root_ended = 1;
    return error ? error : visit_all(f, time, flags);
}

int mw_follow_tick(mw_follower *f, int64_t time, uint32_t flags,
                   uint64_t skipped, int closing) {
    mw_begin_details(f, time);
    int error = visit_job(f, time, &flags);
    if (!error && closing) {
        /* The processes that were just found may have events as well. */
        f->closing = 1;
        error = visit_job(f, time, &flags);
    }
    if (!error)
        error = add_up_footprints(f, time);
    if (!error)
        error = mw_end_details(f, time, &flags);
    if (!error)
        error = mw_report_tmpfs(f, time);
    if (error)
        return error;
    mw_observation *record = mw_observe(f, time, MW_TICK, NULL);
    if (!record)
        return -ENOMEM;
    record->process = skipped;
    record->second = add_up(f);
    record->value = f->total;
    record->third = f->shared;
    record->valid = flags | MW_HAS_RSS;
    if (f->has_shared)
        record->valid |= MW_HAS_SHARED;
    return 0;
}

void mw_follow_end(mw_follower *f) {
    for (size_t i = 0; i < f->table.count; i++)
        if (f->table.slots[i].handle)
            mw_platform_detach(f->platform, f->table.slots[i].handle);
    mw_table_free(&f->table);
    mw_queue_free(&f->reported);
    mw_event_list_free(&f->events);
    mw_event_list_free(&f->early);
    free(f->found.pid);
    free(f->fresh.pid);
    free(f->leaving.pid);
    free(f->text);
}
