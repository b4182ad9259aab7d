/* Exit records of threads, added up by process. */
#include "follow_parts.h"

#include <errno.h>

static int is_its_record(const mw_slot *slot, const mw_event *event) {
    return !(slot->known & MW_HAS_START) ||
           event->time - event->elapsed > slot->start - SAME_START;
}

/* Updates the peak. The first thread ends with the last image, or in the execve
   before it; others may have ended long before, in another image, but not those
   that end after the first. */
static void fold_peak(mw_slot *slot, const mw_event *event) {
    int is_first = mw_is_of_first_thread(event);
    if (!is_first && !slot->first_ended && !slot->has_record)
        return;
    if (is_first)
        slot->peak = slot->first_ended = 0;
    slot->has_record = 1;
    slot->known |= event->valid & MW_HAS_WATERMARK;
    if ((event->valid & MW_HAS_WATERMARK) && event->peak > slot->peak)
        slot->peak = event->peak;
}

/* Adds a thread's record to what is known of its process. */
static int fold(mw_follower *f, mw_slot *slot, const mw_event *event) {
    if (!slot->ppid && event->ppid) { /* it could not be read */
        slot->ppid = event->ppid;
        int error = mw_report_start(f, slot, event->time - event->elapsed, 0);
        if (error)
            return error;
    }
    if (!slot->has_sums) { /* the hook's sums are less exact */
        slot->user = slot->system = 0;
        slot->faults = 0;
    }
    slot->has_sums = 1;
    slot->known |= event->valid & (MW_HAS_CPU | MW_HAS_IO | MW_HAS_FAULTS);
    slot->user += event->user;
    slot->system += event->system;
    slot->read_bytes += event->read_bytes;
    slot->written_bytes += event->written_bytes;
    slot->faults += event->faults;
    fold_peak(slot, event);
    /* The status of the thread that ended last is the process's. */
    if (slot->has_record && (event->valid & MW_HAS_STATUS)) {
        slot->known |= MW_HAS_STATUS;
        slot->status = event->status;
    }
    if (!mw_is_of_first_thread(event))
        return 0;
    mw_set_name(f, slot, event);
    if (!mw_has_exec_events(f) && slot->has_image && slot->inherited &&
        !(event->valid & MW_INHERITED)) {
        /* It has executed something that no tick has shown. */
        slot->executed = 1;
        slot->executed_at = slot->image_read_at;
    }
    return slot->leaving || mw_has_events(f)
               ? 0
               : mw_leave(f, slot, event->time, 0);
}

/* Adds a process of which only its exit record is known. With events every
   process is known, if somewhat later than its record; without them it is in
   the job if its parent is. */
static int add_by_record(mw_follower *f, const mw_event *event) {
    mw_slot *slot = mw_find(f, event->pid);
    int is_known = slot && is_its_record(slot, event);
    int is_member = mw_find(f, event->ppid) ||
                    (event->ppid == f->adopter_pid && !f->has_other_children);
    if (is_known || !event->ppid || event->tid != event->pid || !is_member)
        return 0;
    mw_newcomer newcomer = {.time = event->time - event->elapsed,
                            .pid = event->pid,
                            .ppid = event->ppid,
                            .found_by = MW_BY_RECORD};
    int error = mw_make_way(f, event->pid, newcomer.time);
    return error ? error : mw_add_process(f, &newcomer, &slot);
}

static int on_record(mw_follower *f, const mw_event *event,
                     mw_event_list *kept) {
    mw_slot *slot = mw_find(f, event->pid);
    if (slot && !slot->ended && is_its_record(slot, event))
        return fold(f, slot, event);
    if (slot && slot->ended && is_its_record(slot, event))
        return 0;
    uint64_t now = mw_has_events(f) ? f->drains : f->ticks;
    if (event->kept_since && now - event->kept_since >= PATIENCE)
        return 0;
    mw_event *copy = mw_event_copy(kept, event, f->events.text + event->text);
    if (!copy)
        return -ENOMEM;
    copy->kept_since = event->kept_since ? event->kept_since : now;
    return 0;
}

int mw_on_records(mw_follower *f) {
    const mw_event *items = f->events.items;
    int error = 0;
    /* The newest first: a parent's record comes after its child's. */
    for (size_t i = f->events.count; !mw_has_events(f) && !error && i-- > 0;)
        if (items[i].kind == MW_EVENT_RECORD)
            error = add_by_record(f, &items[i]);
    mw_event_list_clear(&f->early);
    for (size_t i = 0; !error && i < f->events.count; i++)
        if (items[i].kind == MW_EVENT_RECORD)
            error = on_record(f, &items[i], &f->early);
    return error;
}
