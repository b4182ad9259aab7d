/*
 * What the parts of the follower share: follow.c makes the ticks and calls the
 * others. Each part is a file; none of them knows a platform.
 */
#ifndef MW_FOLLOW_PARTS_H
#define MW_FOLLOW_PARTS_H

#include "follow.h"

/* Longest text of an image: the kernel's limit for one argument (128 KiB), and
   the path and the name before it. */
enum { IMAGE_TEXT = (128 << 10) + 2 * 4096 + 64 };

/* How often the command line of a process in the middle of execve is looked
   for again. */
enum { IMAGE_RETRIES = 3 };

/* For how many ticks a process that is gone waits for the event of its end, and
   one whose end was reported stays known by its pid, for events that come
   late. */
enum { PATIENCE = 2 };

/* The longest time, most likely, from when an image can be seen to the event of
   its exec: arguments are copied and files are read in between. */
static const int64_t EXEC_LAG = 10000000;

/* Start times of one process differ by less than this: `stat` cuts them to 10
   ms, and an exit record has only the elapsed time, up to when it was read. */
static const int64_t SAME_START = 30000000;

static inline int mw_has_events(const mw_follower *f) {
    return (mw_platform_sources(f->platform) & (MW_CONNECTOR | MW_PERF)) != 0;
}

static inline mw_slot *mw_find(const mw_follower *f, int32_t pid) {
    ptrdiff_t index = mw_table_find(&f->table, pid);
    return index < 0 ? NULL : &f->table.slots[index];
}

/* -- follow_say.c -- */

/* Appends an observation; NULL when out of memory. */
mw_observation *mw_observe(mw_follower *f, int64_t time, uint32_t kind,
                           const mw_slot *slot);

/* Sets when the process is inspected next. */
void mw_schedule_inspection(mw_slot *slot, int64_t time);

/* Updates the largest size that one process ever had. */
void mw_note_size(mw_follower *f, uint64_t size);

/* Returns whether a process has its own memory. Until it executes something, a
   child of vfork has its parent's, which counts once. */
int mw_has_own_memory(mw_follower *f, mw_slot *slot);

/* Reports the resident size, and how much of it is shared; NULL when out of
   memory. */
mw_observation *mw_report_rss(mw_follower *f, mw_slot *slot, int64_t time,
                              uint64_t rss, uint64_t shared);

/* Reports the physical footprint if it or its high-water mark has changed. */
int mw_report_footprint(mw_follower *f, mw_slot *slot, int64_t time,
                        const mw_reading *reading);

/* FNV-1a */
uint64_t mw_hash_of(const char *text, size_t length);

/* Reports an image. `text` is not in the queue yet. */
int mw_report_image(mw_follower *f, mw_slot *slot, int64_t time,
                    const char *text, const mw_image *image);

/* Returns whether an image is the one that has this exec id, or, if one is not
   known, this hash of its text. The exec id is better: a program may change its
   command line, or execute itself. */
int mw_is_image(const mw_image *image, const char *text, int is_fork,
                uint64_t exec_id, uint64_t hash);

/* Returns whether an image is the one that was reported last. */
int mw_is_reported(const mw_slot *slot, const mw_image *image,
                   const char *text);

/* Returns whether a reading that shows an image for the first time shows a new
   one: the hook may have read it before. */
int mw_is_new_image(mw_follower *f, mw_slot *slot, int first_seen);

/* Reports an image that could not be read, by the name that is known. */
int mw_report_unseen_image(mw_follower *f, mw_slot *slot, int64_t time,
                           uint32_t valid);

/* Reports the end of the image that ran until an execve. */
int mw_end_image(mw_follower *f, mw_slot *slot, int64_t time);

/* Forgets the memory of the image before. */
void mw_expect_memory(mw_slot *slot, int64_t time);

/* Forgets all that is known of the image before. */
void mw_expect_image(mw_slot *slot, int64_t time);

/* Reports the start of a process, again when more is known. */
int mw_report_start(mw_follower *f, const mw_slot *slot, int64_t time,
                    uint32_t found_by);

/* Takes the wait status of a zombie that is our child, so that it goes away. */
int mw_reap(mw_follower *f, const mw_slot *slot, int *status, uint64_t *peak);

/* Reports all that is known of a process, and its end. */
int mw_report_exit(mw_follower *f, mw_slot *slot, int64_t time,
                   enum mw_life life);

/* -- follow_details.c -- */

/* Decides, at the beginning of a tick, whether details are read at it. */
void mw_begin_details(mw_follower *f, int64_t time);

/* Returns whether the details of a process are to be read at this tick. */
int mw_wants_details(mw_follower *f, const mw_slot *slot,
                     const mw_reading *reading);

/* Reports what an inspection has shown beside the high-water mark, where it
   matters and has changed. */
int mw_report_details(mw_follower *f, mw_slot *slot, int64_t time,
                      const mw_reading *reading, const mw_inspection *seen);

/* Reports page faults if there were more since the last report. */
int mw_report_faults(mw_follower *f, mw_slot *slot, int64_t time,
                     uint64_t faults);

/* Adds MW_TICK_DETAILED to `*flags` if all details of this tick are known, and
   reports what the machine has got in huge pages. */
int mw_end_details(mw_follower *f, int64_t time, uint32_t *flags);

/* -- follow_written.c -- */

/* Reports what is stored in file systems in memory, and how much of it the job
   has written, if that has changed. */
int mw_report_tmpfs(mw_follower *f, int64_t time);

/* -- follow_look.c -- */

/* Returns whether a new image has been seen whose event is still to come. Until
   then its memory belongs to an image that has not begun. */
int mw_awaits_exec(const mw_follower *f, mw_slot *slot, int new_image);

/* Reads the memory of a process. If it has ended, the highest footprint of its
   last image may still be there. */
int mw_look(mw_follower *f, mw_slot *slot, int64_t time, mw_reading *out);

/* Returns whether there are events of execs, before or after them. */
int mw_has_exec_events(const mw_follower *f);

/* Reads and reports a new image, which a reading or an event has shown. */
int mw_begin_image(mw_follower *f, mw_slot *slot, int64_t time);

/* Reads a command line again that was missing in the middle of execve. */
int mw_retry_image(mw_follower *f, mw_slot *slot, int64_t time);

/* Attaches to a process known from events. It may have gone. */
int mw_attach(mw_follower *f, mw_slot *slot, int64_t time);

/* Attaches to a process that has ended and was never read. */
int mw_hold(mw_follower *f, mw_slot *slot, enum mw_life *life);

/* -- follow_join.c -- */

typedef struct {
    int64_t start;
    int64_t time; /* of when it was found */
    int32_t pid;
    int32_t ppid;
    uint32_t valid; /* MW_HAS_START */
    uint32_t found_by;
} mw_newcomer;

/* Adds a process. A slot that has its pid is used again. */
int mw_add_process(mw_follower *f, const mw_newcomer *newcomer, mw_slot **out);

/* Returns whether `start` can be that of the process in `slot`. */
int mw_is_same(const mw_slot *slot, int64_t start);

/* Follows every process of `found` that is not followed yet. */
int mw_adopt_found(mw_follower *f, int64_t time);

/* Reports the end of the previous owner of a pid that has been reused: it must
   have exited. */
int mw_make_way(mw_follower *f, int32_t pid, int64_t time);

/* Follows processes that have joined the job without an event. */
int mw_find_joined(mw_follower *f, int64_t time);

/* -- follow_hear.c -- */

/* Notes that the event of an end has come; whether the process has ended is
   checked when all events are applied. `is_known`: at exactly that time, not
   some time before. */
int mw_leave(mw_follower *f, mw_slot *slot, int64_t time, uint8_t is_known);

/* Keeps the kernel's name, in case the image cannot be read. */
void mw_set_name(const mw_follower *f, mw_slot *slot, const mw_event *event);

/* Returns whether an event is of a process's first thread. Old kernels do not
   give the process of a thread: then `pid` is the thread's, and the slot was
   found by that. */
int mw_is_of_first_thread(const mw_event *event);

/* Fetches and applies events, without reading a process. */
int mw_apply_events(mw_follower *f);

/* Fetches and applies events, and reads the processes that they are about. */
int mw_handle_events(mw_follower *f, int64_t time);

/* -- follow_records.c -- */

/* Applies the records of this fetch, and those kept from before. */
int mw_on_records(mw_follower *f);

#endif
