/* The kernel's records of threads that have ended, added up by process. */
#include "follow_parts.h"

#include <errno.h>

static int is_its_record(const mw_slot *slot, const mw_news *n) {
    return !(slot->known & MW_HAS_START) ||
           n->time - n->elapsed > slot->start - SAME_START;
}

/* The first thread ends with the last image, or in the execve before it; others
   may have ended long before, in another image, but not those that end after.
 */
static void fold_peak(mw_slot *slot, const mw_news *n) {
    int is_first = mw_is_of_first_thread(n);
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
        int error = mw_report_start(f, slot, n->time - n->elapsed, 0);
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
    if (!mw_is_of_first_thread(n))
        return 0;
    mw_set_name(f, slot, n);
    if (!mw_hears_of_execs(f) && slot->has_image && slot->inherited &&
        !(n->valid & MW_INHERITED)) {
        /* It has executed something that nobody has seen. */
        slot->executed = 1;
        slot->executed_at = slot->image_read_at;
    }
    return slot->leaving || mw_has_events(f) ? 0
                                             : mw_leave(f, slot, n->time, 0);
}

/* Takes up a process of which nothing but its exit record is known: events tell
   of every process, if somewhat later than this, but without them it is known
   by its parent, once that is. */
static int add_by_record(mw_follower *f, const mw_news *n) {
    mw_slot *slot = mw_find(f, n->pid);
    int is_known = slot && is_its_record(slot, n);
    int is_member = mw_find(f, n->ppid) ||
                    (n->ppid == f->adopter_pid && !f->has_other_children);
    if (is_known || !n->ppid || n->tid != n->pid || !is_member)
        return 0;
    mw_newcomer who = {.time = n->time - n->elapsed,
                       .pid = n->pid,
                       .ppid = n->ppid,
                       .found_by = MW_BY_RECORD};
    int error = mw_make_way(f, n->pid, who.time);
    return error ? error : mw_add_process(f, &who, &slot);
}

static int on_record(mw_follower *f, const mw_news *n, mw_news_list *kept) {
    mw_slot *slot = mw_find(f, n->pid);
    if (slot && !slot->ended && is_its_record(slot, n))
        return fold(f, slot, n);
    if (slot && slot->ended && is_its_record(slot, n))
        return 0;
    uint64_t now = mw_has_events(f) ? f->drains : f->rounds;
    if (n->mark && now - n->mark >= PATIENCE)
        return 0;
    mw_news *copy = mw_news_copy(kept, n, f->news.text + n->text);
    if (!copy)
        return -ENOMEM;
    copy->mark = n->mark ? n->mark : now;
    return 0;
}

int mw_on_records(mw_follower *f) {
    const mw_news *items = f->news.items;
    int error = 0;
    /* The newest first: a parent's record comes after its child's. */
    for (size_t i = f->news.count; !mw_has_events(f) && !error && i-- > 0;)
        if (items[i].kind == MW_NEWS_RECORD)
            error = add_by_record(f, &items[i]);
    mw_news_clear(&f->early);
    for (size_t i = 0; !error && i < f->news.count; i++)
        if (items[i].kind == MW_NEWS_RECORD)
            error = on_record(f, &items[i], &f->early);
    return error;
}
