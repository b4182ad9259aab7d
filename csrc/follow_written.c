/*
 * When the processes of the job are searched for files in memory that they
 * write. The files that are known are read at every tick; the search is for
 * what they do not explain. It costs as much as ten readings of a process, so
 * it has a small part of the time, and may go on for several ticks.
 */
#include "follow_parts.h"

#include <errno.h>

/* A search may take 1 part in 100 of the time; while a limit may be exceeded by
   what is stored, 1 part in 10; and as much as this at once. */
static const int64_t SHARE = 100;
static const int64_t LIMIT_SHARE = 10;
static const int64_t MOST_CREDIT = 2000000;

/* What a process takes, and each of its descriptors, in ns: 41 us with 7
   descriptors, 770 us with 204. */
static const int64_t PROCESS_COST = 10000;
static const int64_t DESCRIPTOR_COST = 4000;

/* Less than this, or than 1 part in 100 of what is stored, is not searched
   for. */
static const uint64_t MIB = 1 << 20;
static const uint64_t STEP_PART = 100;

static void add_credit(mw_follower *f, int64_t time) {
    mw_search *search = &f->search;
    int may_exceed =
        search->limit && f->total + mw_tmpfs_stored(&f->tmpfs) > search->limit;
    mw_credit_add(&search->credit, time, may_exceed ? LIMIT_SHARE : SHARE,
                  MOST_CREDIT);
}

/* Returns the stored bytes that no known file explains. */
static uint64_t unexplained(const mw_follower *f) {
    return mw_tmpfs_stored(&f->tmpfs) - mw_tmpfs_written(&f->tmpfs);
}

/* Returns whether more is unexplained than when the last search ended. */
static int is_due(mw_follower *f) {
    mw_search *search = &f->search;
    uint64_t step = mw_tmpfs_stored(&f->tmpfs) / STEP_PART,
             now = unexplained(f);
    if (now < search->unexplained)
        search->unexplained = now;
    return now - search->unexplained >= (step > MIB ? step : MIB);
}

static void note(void *tmpfs, const mw_written *file) {
    mw_tmpfs_note(tmpfs, file);
}

static void search_one(mw_follower *f, const mw_slot *slot) {
    if (slot->ended || !slot->handle)
        return;
    int looked = mw_platform_written(f->platform, slot->pid, note, &f->tmpfs);
    f->search.credit.left -=
        PROCESS_COST + (looked > 0 ? looked * DESCRIPTOR_COST : 0);
}

/* Searches processes while there is credit, each once in a search, until what
   was found explains enough. */
static void search_on(mw_follower *f) {
    mw_search *search = &f->search;
    size_t count = f->table.count;
    while (search->left && search->credit.left > 0) {
        search->next = (search->next + 1) % count;
        search_one(f, &f->table.slots[search->next]);
        search->left = is_due(f) ? search->left - 1 : 0;
    }
    if (!search->left)
        search->unexplained = unexplained(f);
}

static int report(mw_follower *f, int64_t time) {
    uint64_t stored = mw_tmpfs_stored(&f->tmpfs);
    uint64_t written = mw_tmpfs_written(&f->tmpfs);
    if (stored == f->search.reported_stored &&
        written == f->search.reported_written)
        return 0;
    mw_observation *record = mw_observe(f, time, MW_TMPFS, NULL);
    if (!record)
        return -ENOMEM;
    record->value = f->search.reported_stored = stored;
    record->second = f->search.reported_written = written;
    return 0;
}

int mw_report_tmpfs(mw_follower *f, int64_t time) {
    mw_search *search = &f->search;
    if (!f->tmpfs.count)
        return 0;
    mw_tmpfs_read(&f->tmpfs, f->platform);
    /* What a file holds that is open from the beginning is not the job's, so
       its size is noted at once. */
    int is_first = !search->credit.from;
    add_credit(f, time);
    if (!search->left && (is_first || is_due(f)))
        search->left = f->table.count;
    if (search->left > f->table.count)
        search->left = f->table.count;
    if (search->left)
        search_on(f);
    return report(f, time);
}
