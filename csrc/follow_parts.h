/*
 * What the parts of the follower share: follow.c passes over all processes and
 * calls the others. Each part is a file; none of them knows a platform.
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

/* For how many passes a process that is gone waits for word of its end, and one
   whose end was reported stays known by its pid, for word that comes late. */
enum { PATIENCE = 2 };

/* An image can be seen by so much before the kernel says that it was executed,
   most likely: arguments are copied and files are read in between. */
static const int64_t EXEC_LAG = 10000000;

/* Start times that belong to one process differ by less: `stat` cuts them to
   10 ms, and an exit record has only the time it took, to when it was read. */
static const int64_t SAME_START = 30000000;

static inline int mw_has_events(const mw_follower *f) {
    return (mw_platform_sources(f->platform) & (MW_CONNECTOR | MW_PERF)) != 0;
}

static inline mw_slot *mw_find(const mw_follower *f, int32_t pid) {
    ptrdiff_t index = mw_table_find(&f->table, pid);
    return index < 0 ? NULL : &f->table.slots[index];
}

/* -- follow_say.c -- */

/* One more observation; NULL when out of memory. */
mw_observation *mw_observe(mw_follower *f, int64_t time, uint32_t kind,
                           const mw_slot *slot);

/* Sets when the process is inspected next. */
void mw_schedule_inspection(mw_slot *slot, int64_t time);

/* For the largest there ever was. */
void mw_note_size(mw_follower *f, uint64_t size);

/* Whether what a process holds is its own. Until it executes something, a child
   of vfork has its parent's memory, which counts once. */
int mw_has_own_memory(mw_follower *f, mw_slot *slot);

/* NULL when out of memory. */
mw_observation *mw_report_rss(mw_follower *f, mw_slot *slot, int64_t time,
                              uint64_t rss);

/* Says the physical footprint when it has changed, or its mark has. */
int mw_report_footprint(mw_follower *f, mw_slot *slot, int64_t time,
                        const mw_reading *reading);

/* FNV-1a */
uint64_t mw_hash_of(const char *text, size_t length);

/* Reports an image. `text` is not in the queue yet. */
int mw_report_image(mw_follower *f, mw_slot *slot, int64_t time,
                    const char *text, const mw_image *image);

/* Whether an image is one that is known by its mark and its text's hash. The
   mark tells more: a program may change its command line, or execute itself. */
int mw_is_image(const mw_image *image, const char *text, int is_fork,
                uint64_t mark, uint64_t hash);

/* Whether it is the image that was reported last. */
int mw_is_reported(const mw_slot *slot, const mw_image *image,
                   const char *text);

/* Whether a look that shows an image for the first time shows a new one: what
   the hook saw of it may have been reported already. */
int mw_is_new_image(mw_follower *f, mw_slot *slot, int first_seen);

/* Reports an image that nobody could look at, by the name that is known. */
int mw_report_unseen_image(mw_follower *f, mw_slot *slot, int64_t time,
                           uint32_t valid);

/* The image that ran until now has ended in execve. */
int mw_end_image(mw_follower *f, mw_slot *slot, int64_t time);

/* Forgets the memory of the image before. */
void mw_expect_memory(mw_slot *slot, int64_t time);

/* The same of all that is known of the image before. */
void mw_expect_image(mw_slot *slot, int64_t time);

/* Says who it is, again when more is known. */
int mw_report_start(mw_follower *f, const mw_slot *slot, int64_t time,
                    uint32_t found_by);

/* Takes the wait status of a zombie that is our child, so that it goes away. */
int mw_reap(mw_follower *f, const mw_slot *slot, int *status, uint64_t *peak);

/* Says all that was learnt of it, and that it has ended. */
int mw_report_exit(mw_follower *f, mw_slot *slot, int64_t time,
                   enum mw_life life);

/* -- follow_look.c -- */

/* Whether a new image has been seen of which word is still to come. Until then
   its memory belongs to an image that has not begun. */
int mw_awaits_exec(const mw_follower *f, mw_slot *slot, int new_image);

/* Reads the memory of a process. One that has ended may still tell the highest
   footprint of its last image. */
int mw_look(mw_follower *f, mw_slot *slot, int64_t time, mw_reading *out);

/* Whether a process says that it is about to execute, or that it has. */
int mw_hears_of_execs(const mw_follower *f);

/* A look has shown, or word has come, that a process runs something new. */
int mw_begin_image(mw_follower *f, mw_slot *slot, int64_t time);

/* Looks again for a command line that was missing in the middle of execve. */
int mw_retry_image(mw_follower *f, mw_slot *slot, int64_t time);

/* Begins to look at a process known from news. It may have gone. */
int mw_attach(mw_follower *f, mw_slot *slot, int64_t time);

/* Keeps an eye on a process that has ended without having been looked at. */
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

/* Takes up a process. A slot that has its pid is used again. */
int mw_add_process(mw_follower *f, const mw_newcomer *who, mw_slot **out);

/* Whether `start` can be that of the process in `slot`. */
int mw_is_same(const mw_slot *slot, int64_t start);

/* Follows every process of `found` that is not followed yet. */
int mw_adopt_found(mw_follower *f, int64_t time);

/* Whose pid is in use again has ended, although nobody said so. */
int mw_make_way(mw_follower *f, int32_t pid, int64_t time);

/* Follows those who have joined the job unheard of. */
int mw_find_joined(mw_follower *f, int64_t time);

/* -- follow_hear.c -- */

/* Word of the end has come; whether it is true is looked at when all news is
   applied. `is_known`: at that very time, not some time before. */
int mw_leave(mw_follower *f, mw_slot *slot, int64_t time, uint8_t is_known);

/* Keeps the kernel's name, for what nobody could look at. */
void mw_set_name(const mw_follower *f, mw_slot *slot, const mw_news *n);

/* Old kernels do not say which process a thread is of: `pid` is its own then,
   and the slot was found by that. */
int mw_is_of_first_thread(const mw_news *n);

/* Applies the news, but takes no look at any process. */
int mw_apply_news(mw_follower *f);

/* Applies the news, and looks at what they are of. */
int mw_hear(mw_follower *f, int64_t time);

/* -- follow_records.c -- */

/* Of this round's news, and those that could not be placed before. */
int mw_on_records(mw_follower *f);

#endif
