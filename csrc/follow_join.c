/* Processes that join the job, and are added to the table. */
#include "follow_parts.h"

#include <stdlib.h>
#include <string.h>

int mw_add_process(mw_follower *f, const mw_newcomer *newcomer, mw_slot **out) {
    mw_slot *slot = mw_find(f, newcomer->pid);
    if (slot) {
        if (slot->handle)
            mw_platform_detach(f->platform, slot->handle);
        memset(slot, 0, sizeof *slot);
        slot->pid = newcomer->pid;
    } else {
        int error = mw_table_add(&f->table, newcomer->pid, &slot);
        if (error)
            return error;
    }
    slot->serial = ++f->last_serial;
    slot->ppid = newcomer->ppid;
    slot->start = newcomer->start;
    slot->known = newcomer->valid & MW_HAS_START;
    slot->patience = PATIENCE;
    *out = slot;
    return mw_report_start(f, slot, newcomer->time, newcomer->found_by);
}

int mw_is_same(const mw_slot *slot, int64_t start) {
    return !(slot->known & MW_HAS_START) ||
           llabs(slot->start - start) < SAME_START;
}

/* Returns whether this pid's current owner is already followed. A process whose
   end was reported may be gone by now. */
static int is_followed(mw_follower *f, int32_t pid, int64_t time) {
    const mw_slot *slot = mw_find(f, pid);
    mw_reading reading = {.life = MW_ENDED};
    if (!slot || !slot->ended || !slot->handle || mw_has_events(f))
        return slot != NULL;
    int error =
        mw_platform_poll(f->platform, slot->handle, time, &reading, &f->found);
    return error || reading.life != MW_VANISHED;
}

int mw_adopt_found(mw_follower *f, int64_t time) {
    int is_up_to_date = !mw_has_events(f);
    for (size_t i = 0; i < f->found.count; i++) {
        int32_t pid = f->found.pid[i];
        if (is_followed(f, pid, time))
            continue;
        if (!is_up_to_date) {
            /* The event of its fork has come meanwhile, and has more. */
            is_up_to_date = 1;
            int error = mw_handle_events(f, time);
            if (error)
                return error;
            if (mw_table_find(&f->table, pid) >= 0)
                continue;
        }
        /* The system may not tell this process from the last by the pid
           alone. */
        mw_slot *last = mw_find(f, pid);
        if (last && last->handle) {
            mw_platform_detach(f->platform, last->handle);
            last->handle = NULL;
        }
        mw_handle *handle;
        mw_identity identity = {0};
        int error = mw_platform_attach(f->platform, pid, &handle, &identity);
        if (error)
            return error;
        if (!handle)
            continue;
        mw_slot *slot;
        mw_newcomer newcomer = {.start = identity.start,
                                .time = time,
                                .pid = pid,
                                .ppid = identity.ppid,
                                .valid = identity.valid};
        error = mw_add_process(f, &newcomer, &slot);
        if (error) {
            mw_platform_detach(f->platform, handle);
            return error;
        }
        slot->handle = handle;
        slot->foreign = f->has_other_children && pid != f->root_pid &&
                        identity.ppid == f->adopter_pid;
        error = mw_begin_image(f, slot, time);
        if (error)
            return error;
    }
    f->found.count = 0;
    return 0;
}

int mw_make_way(mw_follower *f, int32_t pid, int64_t time) {
    mw_slot *slot = mw_find(f, pid);
    return slot && !slot->ended ? mw_report_exit(f, slot, time, MW_VANISHED)
                                : 0;
}

static int is_member(const void *table, int32_t pid) {
    return mw_table_find(table, pid) >= 0;
}

int mw_find_joined(mw_follower *f, int64_t time) {
    int error =
        mw_platform_discover(f->platform, is_member, &f->table, &f->found);
    return error ? error : mw_adopt_found(f, time);
}
