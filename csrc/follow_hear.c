/* What is heard: forks, execs, ends, what the hook saw. */
#include "follow_parts.h"

#include <string.h>

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

/* When all is told of its end. */
static int conclude(mw_follower *f, int32_t pid, int64_t time) {
    mw_slot *slot = mw_find(f, pid);
    /* On its way out, or called back by a signal: the next pass will see. After
       the root's end nobody is waited for: the closing pass tells of it. */
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

void mw_set_name(const mw_follower *f, mw_slot *slot, const mw_news *n) {
    size_t length = n->text_length;
    if (length >= sizeof slot->name)
        length = sizeof slot->name - 1;
    if (!length)
        return;
    memcpy(slot->name, f->news.text + n->text, length);
    slot->name[length] = '\0';
}

/* Of the process that did something: after messages were lost its pid may have
   been taken up by another one, not of the job, unheard of. */
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

static int on_fork(mw_follower *f, const mw_news *n) {
    mw_slot *slot = mw_find(f, n->pid);
    if (slot && !slot->ended && !slot->leaving && mw_is_same(slot, n->time)) {
        /* It was looked at before. Now its start is known exactly. */
        slot->start = n->time;
        slot->known |= MW_HAS_START;
        slot->ppid = n->ppid;
        return mw_report_start(f, slot, n->time, 0);
    }
    int is_of_job = 1;
    int error = 0;
    if (n->pid != f->root_pid)
        error = is_true(f, n->ppid, n->time, &is_of_job);
    if (error || !is_of_job)
        return error;
    error = mw_make_way(f, n->pid, n->time);
    mw_newcomer who = {.start = n->time,
                       .time = n->time,
                       .pid = n->pid,
                       .ppid = n->ppid,
                       .valid = MW_HAS_START,
                       .found_by = MW_BY_EVENT};
    if (!error)
        error = mw_add_process(f, &who, &slot);
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
    int is_of_job = mw_find(f, n->pid) != NULL;
    int error = n->mark ? 0 : is_true(f, n->pid, n->time, &is_of_job);
    mw_slot *slot = mw_find(f, n->pid);
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
                     : mw_report_image(f, slot, n->time, "",
                                       &(mw_image){.valid = MW_SAME_IMAGE});
    }
    if (slot->executed) {
        /* Two at once: nobody has looked at the one between. */
        if (!error)
            error = mw_end_image(f, slot, slot->executed_at);
        if (!error)
            error = mw_report_unseen_image(f, slot, slot->executed_at, 0);
    }
    /* An end that came before was that of its first thread, whose place the one
       that executed has taken. */
    slot->leaving = slot->end_is_known = 0;
    slot->name[0] = '\0';
    mw_set_name(f, slot, n);
    slot->exec_due = 0;
    slot->executed = 1;
    slot->executed_at = n->time;
    return error;
}

int mw_is_of_first_thread(const mw_news *n) {
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
    mw_slot *slot = mw_find(f, n->pid);
    if (!slot || slot->ended)
        return 0;
    int is_first = mw_is_of_first_thread(n);
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
    return is_first ? mw_leave(f, slot, n->time, 1) : 0;
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
    } else if (mw_is_reported(slot, &image, text) ||
               (mw_has_events(f) && !slot->inherited) ||
               (!slot->inherited && !slot->mark && !slot->is_complete)) {
        /* Events tell of each that follows. And one that was seen in the middle
           of its execve is the next to be heard of. */
        if (slot->is_complete || !(image.valid & MW_HAS_ARGV))
            return 0;
        image.valid |= MW_SAME_IMAGE;
        return mw_report_image(f, slot, n->time, text, &image);
    } else if ((image.valid & MW_INHERITED) || n->time < slot->image_read_at) {
        return 0; /* of one before that which was looked at */
    }
    if (since < slot->since)
        since = slot->since;
    int error = mw_end_image(f, slot, since);
    mw_expect_image(slot, n->time);
    slot->hook_first = 1;
    return error ? error : mw_report_image(f, slot, since, text, &image);
}

/* Every process that passes the hook is of the job. */
static int on_hook(mw_follower *f, const mw_news *n) {
    mw_slot *slot = mw_find(f, n->pid);
    int error = 0;
    if (slot && (n->valid & MW_HAS_START) && !mw_is_same(slot, n->start)) {
        error = mw_make_way(f, n->pid, n->start);
        slot = NULL;
    }
    if (!error && !slot) {
        mw_newcomer who = {.start = n->start,
                           .time =
                               (n->valid & MW_HAS_START) ? n->start : n->time,
                           .pid = n->pid,
                           .ppid = n->ppid,
                           .valid = n->valid,
                           .found_by = MW_BY_HOOK};
        error = mw_add_process(f, &who, &slot);
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
        if (slot->has_image && !mw_is_reported(slot, &image, text) &&
            n->time < slot->image_read_at)
            return 0;
        slot->attempt = (mw_attempt){
            .time = n->time,
            .peak = n->peak,
            .mark = n->mark,
            .text = mw_hash_of(text, n->text_length),
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
    return mw_leave(f, slot, n->time, 1);
}

/* The records that could not be placed in the last round come first. */
static int fetch_news(mw_follower *f) {
    mw_news_list early = f->early;
    f->early = f->news;
    f->news = early;
    mw_news_clear(&f->early);
    return mw_platform_news(f->platform, f->closing, &f->news);
}

int mw_apply_news(mw_follower *f) {
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
    return error ? error : mw_on_records(f);
}

/* Looks at what has forked or executed something. */
static int look_at_fresh(mw_follower *f, int64_t time) {
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
        error = mw_apply_news(f);
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

int mw_hear(mw_follower *f, int64_t time) {
    int error = mw_apply_news(f);
    return error ? error : look_at_news(f, time);
}

int mw_follow_news(mw_follower *f, int64_t time) {
    int error = mw_hear(f, time);
    f->found.count = 0; /* the next tick finds them again */
    /* Word of a fork may come without the child's pid. */
    if (!error && (mw_platform_sources(f->platform) & MW_KQUEUE))
        error = mw_find_joined(f, time);
    return error;
}
