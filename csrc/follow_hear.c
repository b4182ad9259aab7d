/* Events: forks, execs, ends, and those of the hook. */
#include "follow_parts.h"

#include <string.h>

/* Notes that a process has not ended: its first thread has, or its record came
   while it was exiting. */
static void lives_on(mw_slot *slot) {
    slot->leaving = slot->end_is_known = 0;
    if (!slot->has_record)
        slot->known &= ~(uint32_t)MW_HAS_STATUS;
}

/* Checks a process whose first thread has ended: the process has too if no
   thread is left. */
static int check_end(mw_follower *f, int32_t pid, int64_t time) {
    int error = 0;
    mw_slot *slot = mw_find(f, pid);
    if (!slot || slot->ended || !slot->leaving)
        return 0;
    if (!slot->handle && !slot->exits) {
        error = mw_attach(f, slot, time);
        slot = mw_find(f, pid);
    }
    mw_reading reading = {.life = MW_VANISHED};
    if (!error && slot->handle)
        error = mw_look(f, slot, time, &reading);
    slot->life = (uint8_t)reading.life;
    if (error || reading.life != MW_ALIVE || slot->exits)
        return error;
    lives_on(slot);
    slot->first_ended = 1;
    int is_new = mw_is_new_image(f, slot, reading.new_image);
    if (slot->executed || (is_new && !mw_awaits_exec(f, slot, is_new)))
        error = mw_begin_image(f, slot, time);
    return error;
}

/* Reports the end of a process once all its events have come. */
static int conclude(mw_follower *f, int32_t pid, int64_t time) {
    mw_slot *slot = mw_find(f, pid);
    /* It is exiting, or a signal has called it back: the next tick will show.
       After the root's end no process is waited for: the closing tick reports
       it. */
    if (!slot || slot->ended || !slot->leaving ||
        (!f->closing && (pid == f->root_pid || slot->life == MW_ALIVE)))
        return 0;
    return mw_report_exit(f, slot, time, slot->life);
}

int mw_leave(mw_follower *f, mw_slot *slot, int64_t time, uint8_t is_known) {
    slot->leaving = 1;
    slot->end_is_known = is_known;
    slot->ended_at = time;
    return mw_pids_add(&f->leaving, slot->pid);
}

void mw_set_name(const mw_follower *f, mw_slot *slot, const mw_event *event) {
    size_t length = event->text_length;
    if (length >= sizeof slot->name)
        length = sizeof slot->name - 1;
    if (!length)
        return;
    memcpy(slot->name, f->events.text + event->text, length);
    slot->name[length] = '\0';
}

/* Checks that the pid in an event still belongs to our process; after lost
   messages it may have been reused. */
static int is_true(mw_follower *f, int32_t pid, int64_t time, int *is) {
    mw_slot *slot = mw_find(f, pid);
    *is = slot != NULL;
    if (!slot || slot->ended || mw_has_events(f) || slot->verified == f->drains)
        return 0;
    mw_handle *handle;
    mw_identity identity = {0};
    int error = mw_platform_attach(f->platform, pid, &handle, &identity);
    slot->verified = f->drains;
    if (error || !handle)
        return error;
    mw_platform_detach(f->platform, handle);
    *is = !(identity.valid & MW_HAS_START) || mw_is_same(slot, identity.start);
    return *is ? 0 : mw_report_exit(f, slot, time, MW_VANISHED);
}

static int on_fork(mw_follower *f, const mw_event *event) {
    mw_slot *slot = mw_find(f, event->pid);
    if (slot && !slot->ended && !slot->leaving &&
        mw_is_same(slot, event->time)) {
        /* It was read before. Now its start is known exactly. */
        slot->start = event->time;
        slot->known |= MW_HAS_START;
        slot->ppid = event->ppid;
        return mw_report_start(f, slot, event->time, 0);
    }
    int is_of_job = 1;
    int error = 0;
    if (event->pid != f->root_pid)
        error = is_true(f, event->ppid, event->time, &is_of_job);
    if (error || !is_of_job)
        return error;
    error = mw_make_way(f, event->pid, event->time);
    mw_newcomer newcomer = {.start = event->time,
                            .time = event->time,
                            .pid = event->pid,
                            .ppid = event->ppid,
                            .valid = MW_HAS_START,
                            .found_by = MW_BY_EVENT};
    if (!error)
        error = mw_add_process(f, &newcomer, &slot);
    return error ? error : mw_pids_add(&f->fresh, event->pid);
}

/* Forgets the threads that have ended in an execve: all but the one that called
   it, which becomes the first. */
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

static int on_exec(mw_follower *f, const mw_event *event) {
    int is_of_job = mw_find(f, event->pid) != NULL;
    int error =
        event->exec_id ? 0 : is_true(f, event->pid, event->time, &is_of_job);
    mw_slot *slot = mw_find(f, event->pid);
    if (error || !is_of_job || slot->ended)
        return error;
    forget_threads(slot);
    if (!slot->has_sums) /* else it may be that of the end, which comes later */
        slot->known &= ~(uint32_t)MW_HAS_STATUS;
    error = mw_pids_add(&f->fresh, event->pid);
    int is_seen =
        slot->early_image && !event->exec_id &&
        (!slot->is_complete || event->time < slot->image_read_at + EXEC_LAG);
    slot->early_image = 0;
    if (is_seen) {
        /* It was read while it executed that, and will be again soon. */
        slot->image_retries = slot->is_complete ? 0 : IMAGE_RETRIES;
        slot->attempt = (mw_attempt){0};
        return error ? error
                     : mw_report_image(f, slot, event->time, "",
                                       &(mw_image){.valid = MW_SAME_IMAGE});
    }
    if (slot->executed) {
        /* Two execs at once: the image between could not be read. */
        if (!error)
            error = mw_end_image(f, slot, slot->executed_at);
        if (!error)
            error = mw_report_unseen_image(f, slot, slot->executed_at, 0);
    }
    /* An end that came before was that of its first thread, whose place was
       taken by the thread that executed. */
    slot->leaving = slot->end_is_known = 0;
    slot->name[0] = '\0';
    mw_set_name(f, slot, event);
    slot->exec_due = 0;
    slot->executed = 1;
    slot->executed_at = event->time;
    return error;
}

int mw_is_of_first_thread(const mw_event *event) {
    return !event->tid || event->tid == event->pid;
}

/* Keeps what EXIT or EXITING has about all its life. Records come later, and
   are more exact. */
static void note_sums(mw_slot *slot, const mw_event *event) {
    if (event->valid & MW_HAS_FOOTPRINT) {
        slot->known |= MW_HAS_FOOTPRINT;
        slot->footprint_peak = event->footprint;
    }
    if (slot->has_sums)
        return;
    slot->known |= event->valid & (MW_HAS_CPU | MW_HAS_IO | MW_HAS_FAULTS);
    if (event->valid & MW_HAS_CPU) {
        slot->user = event->user;
        slot->system = event->system;
    }
    if (event->valid & MW_HAS_IO) {
        slot->read_bytes = event->read_bytes;
        slot->written_bytes = event->written_bytes;
    }
    if (event->valid & MW_HAS_FAULTS)
        slot->faults = event->faults;
}

static int on_end(mw_follower *f, const mw_event *event) {
    mw_slot *slot = mw_find(f, event->pid);
    if (!slot || slot->ended)
        return 0;
    int is_first = mw_is_of_first_thread(event);
    if ((event->valid & MW_HAS_STATUS) && !slot->has_sums && !slot->exits) {
        /* If another thread ends with a status other than 0, it has most likely
           ended them all, by exit_group or a signal. But if the first thread
           then ends with 0, it was exiting before, or the other thread had
           ended alone. */
        int is_in_doubt = is_first && !event->status && slot->status &&
                          (slot->known & MW_HAS_STATUS);
        slot->known |= MW_HAS_STATUS;
        slot->status = event->status;
        if (is_in_doubt)
            slot->known &= ~(uint32_t)MW_HAS_STATUS;
    }
    note_sums(slot, event);
    return is_first ? mw_leave(f, slot, event->time, 1) : 0;
}

/* Updates the image by what the hook has read. */
static int see_image(mw_follower *f, mw_slot *slot, const mw_event *event) {
    const char *text = f->events.text + event->text;
    mw_image image = {.exec_id = event->exec_id,
                      .length = event->text_length,
                      .valid = event->valid &
                               (MW_HAS_EXE | MW_HAS_CWD | MW_HAS_ARGV |
                                MW_ARGV_CUT | MW_INHERITED)};
    const mw_attempt *tried = &slot->attempt;
    int64_t since = tried->time ? tried->time : event->time;
    if (slot->executed) {
        since = slot->executed_at;
    } else if (!slot->has_image) {
        if (!tried->time || (image.valid & MW_INHERITED))
            since = slot->start;
    } else if (mw_is_reported(slot, &image, text) ||
               (mw_has_events(f) && !slot->inherited) ||
               (!slot->inherited && !slot->exec_id && !slot->is_complete)) {
        /* Each later image has an event. And the next event of an image that
           was read in the middle of its execve is its own. */
        if (slot->is_complete || !(image.valid & MW_HAS_ARGV))
            return 0;
        image.valid |= MW_SAME_IMAGE;
        return mw_report_image(f, slot, event->time, text, &image);
    } else if ((image.valid & MW_INHERITED) ||
               event->time < slot->image_read_at) {
        return 0; /* it is of an image before the one that was read */
    }
    if (since < slot->since)
        since = slot->since;
    int error = mw_end_image(f, slot, since);
    mw_expect_image(slot, event->time);
    slot->hook_first = 1;
    return error ? error : mw_report_image(f, slot, since, text, &image);
}

/* Applies an event of the hook. Every process under the hook is in the job. */
static int on_hook(mw_follower *f, const mw_event *event) {
    mw_slot *slot = mw_find(f, event->pid);
    int error = 0;
    if (slot && (event->valid & MW_HAS_START) &&
        !mw_is_same(slot, event->start)) {
        error = mw_make_way(f, event->pid, event->start);
        slot = NULL;
    }
    if (!error && !slot) {
        mw_newcomer newcomer = {
            .start = event->start,
            .time = (event->valid & MW_HAS_START) ? event->start : event->time,
            .pid = event->pid,
            .ppid = event->ppid,
            .valid = event->valid,
            .found_by = MW_BY_HOOK};
        error = mw_add_process(f, &newcomer, &slot);
        /* Reading it shows whether it is still there. */
        if (!error)
            error = mw_pids_add(&f->fresh, event->pid);
    }
    if (error || slot->ended)
        return error;
    if (event->text_length)
        error = see_image(f, slot, event);
    if (error)
        return error;
    if (event->kind == MW_EVENT_EXECUTING) {
        const char *text = f->events.text + event->text;
        mw_image image = {event->exec_id, event->text_length, event->valid};
        /* The program that it then executed may have been read before. */
        if (slot->has_image && !mw_is_reported(slot, &image, text) &&
            event->time < slot->image_read_at)
            return 0;
        slot->attempt = (mw_attempt){
            .time = event->time,
            .peak = event->peak,
            .exec_id = event->exec_id,
            .text_hash = mw_hash_of(text, event->text_length),
            .valid = event->valid,
        };
        return 0;
    }
    slot->attempt = (mw_attempt){0};
    slot->exits = 1;
    /* Records come later, and are more exact. */
    int is_last = !slot->has_record || slot->first_ended;
    if ((event->valid & MW_HAS_WATERMARK) && is_last) {
        slot->known |= MW_HAS_WATERMARK;
        slot->peak = event->peak;
    }
    note_sums(slot, event);
    if (event->valid & MW_HAS_STATUS) {
        slot->known |= MW_HAS_STATUS;
        slot->status = event->status;
    }
    return mw_leave(f, slot, event->time, 1);
}

/* Fetches events. The records that were kept from the last fetch come first. */
static int fetch_events(mw_follower *f) {
    mw_event_list early = f->early;
    f->early = f->events;
    f->events = early;
    mw_event_list_clear(&f->early);
    return mw_platform_events(f->platform, f->closing, &f->events);
}

int mw_apply_events(mw_follower *f) {
    f->drains++;
    int error = fetch_events(f);
    for (size_t i = 0; !error && i < f->events.count; i++) {
        const mw_event *event = &f->events.items[i];
        switch (event->kind) {
        case MW_EVENT_FORK: error = on_fork(f, event); break;
        case MW_EVENT_EXEC: error = on_exec(f, event); break;
        case MW_EVENT_EXIT: error = on_end(f, event); break;
        case MW_EVENT_EXECUTING:
        case MW_EVENT_EXITING: error = on_hook(f, event); break;
        default: break;
        }
    }
    return error ? error : mw_on_records(f);
}

/* Reads the processes that have forked or executed something. */
static int read_fresh(mw_follower *f, int64_t time) {
    int error = 0;
    for (size_t i = 0; !error && i < f->fresh.count; i++) {
        mw_slot *slot = mw_find(f, f->fresh.pid[i]);
        if (!slot || slot->ended || slot->leaving)
            continue;
        if (!slot->handle)
            error = mw_attach(f, slot, time);
        else if (slot->executed)
            error = mw_begin_image(f, slot, time);
        else if (slot->image_retries)
            error = mw_retry_image(f, slot, time);
    }
    f->fresh.count = 0;
    return error;
}

/* Checks the processes that are reported to end. More events may have arrived
   since the last fetch, from their last threads or the hook, so fetches again.
   Processes that end in those events are checked the next time. */
static int check_leaving(mw_follower *f, int64_t time) {
    size_t count = f->leaving.count;
    int error = 0;
    if (!count)
        return 0;
    for (size_t i = 0; !error && i < count; i++)
        error = check_end(f, f->leaving.pid[i], time);
    if (!error)
        error = mw_apply_events(f);
    for (size_t i = 0; !error && i < count; i++)
        error = conclude(f, f->leaving.pid[i], time);
    f->leaving.count -= count;
    memmove(f->leaving.pid, f->leaving.pid + count,
            f->leaving.count * sizeof *f->leaving.pid);
    return error;
}

static int read_what_events_are_about(mw_follower *f, int64_t time) {
    int error = read_fresh(f, time);
    if (!error)
        error = check_leaving(f, time);
    /* Also processes that were reported meanwhile: without a reading they would
       be taken for gone. */
    return error ? error : read_fresh(f, time);
}

int mw_handle_events(mw_follower *f, int64_t time) {
    int error = mw_apply_events(f);
    return error ? error : read_what_events_are_about(f, time);
}

int mw_follow_events(mw_follower *f, int64_t time) {
    int error = mw_handle_events(f, time);
    f->found.count = 0; /* the next tick finds them again */
    /* The event of a fork may come without the child's pid. */
    if (!error && (mw_platform_sources(f->platform) & MW_KQUEUE))
        error = mw_find_joined(f, time);
    return error;
}
