/*
 * What a platform implements for sampler.c: one folder each (linux/), and
 * unsupported.c as the template. Nothing above this file knows a platform.
 *
 * Functions return 0 or -errno. "Gone" is never an error: it is a state.
 */
#ifndef MW_PLATFORM_H
#define MW_PLATFORM_H

#include "memwatch.h"
#include "news.h"

typedef struct mw_platform mw_platform; /* one per sampler */
typedef struct mw_handle mw_handle;     /* one per process followed */

/* A growing list of process ids. */
typedef struct mw_pids {
    int32_t *pid;
    size_t count;
    size_t capacity;
} mw_pids;

/* Defined in table.c, for platforms to report what they found. */
int mw_pids_add(mw_pids *pids, int32_t pid);
int mw_pids_have(const mw_pids *pids, int32_t pid);

/* Who a process is, read once when it is first seen. */
typedef struct mw_identity {
    int64_t start; /* since boot */
    int32_t ppid;
    uint32_t valid; /* MW_HAS_START */
} mw_identity;

enum mw_life {
    MW_ALIVE,
    MW_ENDED,   /* it has exited, but its pid is not free yet: a zombie */
    MW_VANISHED /* its pid is free */
};

/* One look at a process. */
typedef struct mw_reading {
    uint64_t rss;
    uint64_t footprint;      /* MW_HAS_FOOTPRINT */
    uint64_t footprint_peak; /* of this image; MW_HAS_WATERMARK. Of one that
                                has ended it is the last word */
    enum mw_life life;
    uint32_t valid; /* MW_HAS_RSS, and those above */
    int new_image;  /* it seems to have executed something since last time */
} mw_reading;

/* The dearer look, taken now and then. */
typedef struct mw_inspection {
    uint64_t watermark;
    uint32_t valid; /* MW_HAS_WATERMARK */
    int new_image;
} mw_inspection;

/* What a process runs. */
typedef struct mw_image {
    uint64_t mark; /* another one for each image, as in mw_news; 0: not known */
    size_t length; /* of its text, as mw_observation has it; 0: gone */
    uint32_t valid;
} mw_image;

/* What mw_platform_wait() saw; 0: the deadline came. */
enum mw_event { MW_EVENT_STOP = 1, MW_EVENT_ROOT_EXIT = 2, MW_EVENT_NEWS = 4 };

int mw_platform_open(const mw_sampler_options *options, mw_platform **out);
void mw_platform_close(mw_platform *platform);

/* In the sampling thread, before its first tick: notice the root's exit, and
   set up what belongs to the thread. */
int mw_platform_enter_thread(mw_platform *platform, int32_t root_pid);

/* Sleeps until `deadline` or an event. mw_platform_stop() ends it from another
   thread. */
int mw_platform_wait(mw_platform *platform, int64_t deadline);
void mw_platform_stop(mw_platform *platform);

/* Whether news may end the wait before the deadline. */
void mw_platform_listen(mw_platform *platform, int listen);

/* Appends all that the sources have told since: what has a time in its order,
   then the records. When `closing`, holds nothing back for the next time. */
int mw_platform_news(mw_platform *platform, int closing, mw_news_list *out);

/* Which of mw_source tell everything now: not those that failed, and not the
   ones that lost something, until every process has been looked for. */
uint32_t mw_platform_sources(const mw_platform *platform);

/* Adds processes that may have joined the job, from sources that belong to no
   single process of it: adopted orphans, or a scan when nothing else works.
   `is_member` tells whether a pid is followed already. */
int mw_platform_discover(mw_platform *platform,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found);

/* Begins to follow a process. *out is NULL when it has vanished. */
int mw_platform_attach(mw_platform *platform, int32_t pid, mw_handle **out,
                       mw_identity *identity);
void mw_platform_detach(mw_platform *platform, mw_handle *handle);

/* The look of every tick. Adds the process's children to `found`, those
   already known too. */
int mw_platform_poll(mw_platform *platform, mw_handle *handle, int64_t now,
                     mw_reading *out, mw_pids *found);

int mw_platform_inspect(mw_platform *platform, mw_handle *handle,
                        mw_inspection *out);

/* Writes the text of an image, of `capacity` at most. */
void mw_platform_image(mw_platform *platform, mw_handle *handle, char *text,
                       size_t capacity, mw_image *out);

/* Takes the wait status of an ended child of ours: 1 and *status, else 0. *peak
   is its highest resident size if that came with it, for sure, or 0. */
int mw_platform_reap(mw_platform *platform, mw_handle *handle, int *status,
                     uint64_t *peak);

/* Sends a signal to every living process of the job, as mw_sampler_signal() has
   it, and adds it to `found`; with `reap`, takes the wait status of orphans,
   and returns how many had ended. From any thread. */
int mw_platform_signal(const mw_platform *platform, int number, int reap,
                       mw_pids *found);

/* Names the calling thread, for debuggers and lists of threads. */
void mw_platform_name_thread(const char *name);

/* The proportional set size of a process, which may take seconds. 0, -ESRCH
   when it has gone, -ENOTSUP when it is not to be had of any process here, or
   -errno. From any thread, as the next one. */
int mw_platform_pss(const mw_platform *platform, int32_t pid, uint64_t *pss);

/* The resident size of a process as it is now: 0, or -errno when it has gone.
 */
int mw_platform_resident(const mw_platform *platform, int32_t pid,
                         uint64_t *rss);

/* By how much the system's high-water mark of a process may be too low. */
uint64_t mw_platform_roughness(const mw_platform *platform);

/* Whether two processes have one address space, as after vfork: 1 or 0. */
int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other);

/* In the child of mw_spawn(): what execvp(3) takes for the environment. */
void mw_platform_set_environment(char *const envp[]);

/* In the child of mw_spawn(), before it executes: puts the filter in place. */
void mw_hook_install(mw_hook *hook);

void mw_platform_stats(const mw_platform *platform, mw_sampler_stats *out);

#endif
