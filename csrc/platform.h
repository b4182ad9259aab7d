/*
 * What a platform implements, grouped by the file that holds it. Each platform
 * is a folder (linux/, darwin/) with all of these files and its own beside
 * them; unsupported.c has everything in one file, in the same order, as the
 * template of a port. Nothing above this header knows a platform.
 *
 * A platform also implements some functions of api.h; the headings name them.
 *
 * Functions return 0 or -errno unless they say otherwise. That a process has
 * ended is never an error: it is a state.
 */
#ifndef MW_PLATFORM_H
#define MW_PLATFORM_H

#include "event_list.h"
#include "memwatch.h"
#include "pids.h"

typedef struct mw_platform mw_platform; /* one per sampler */
typedef struct mw_handle mw_handle;     /* one per process followed */

/* -- platform.c: the job as a whole --------------------------------------- */

/* What ended a wait, as an or of these; 0: the deadline passed. */
enum mw_waited {
    MW_WAITED_STOP = 1,
    MW_WAITED_ROOT_EXIT = 2,
    MW_WAITED_EVENTS = 4
};

int mw_platform_open(const mw_sampler_options *options, mw_platform **out);
void mw_platform_close(mw_platform *platform);

/* Prepares the sampling thread, in that thread and before its first tick: from
   now on the root's exit ends a wait. */
int mw_platform_enter_thread(mw_platform *platform, int32_t root_pid);

/* Sleeps until `deadline`, or until something of mw_waited happens, which it
   returns. */
int mw_platform_wait(mw_platform *platform, int64_t deadline);

/* Ends mw_platform_wait(), from another thread. */
void mw_platform_stop(mw_platform *platform);

/* Sets whether events may end a wait before its deadline. */
void mw_platform_wake_on_events(mw_platform *platform, int wake);

/* Appends all events since the last call: first those that have a time, in its
   order, then the records. With `closing`, nothing is held back for the next
   call. */
int mw_platform_events(mw_platform *platform, int closing, mw_event_list *out);

/* Returns which of mw_source are complete now. A source that failed is not, nor
   is one that lost something, until every process has been looked for again. */
uint32_t mw_platform_sources(const mw_platform *platform);

/* Adds processes to `found` that may have joined the job and that no process of
   it lists: adopted orphans, or the result of a scan if nothing else works.
   `is_member` says whether a pid is followed already. */
int mw_platform_discover(mw_platform *platform,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found);

/* Fills in the counters that the platform keeps. */
void mw_platform_stats(const mw_platform *platform, mw_sampler_stats *out);

/* -- process.c: one process ----------------------------------------------- */

/* The identity of a process, read once when it is first seen. */
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

/* What is read of a process at every tick. */
typedef struct mw_reading {
    uint64_t rss;
    uint64_t shared;         /* of `rss`: of files and shared memory;
                                MW_HAS_SHARED */
    uint64_t size;           /* address space; only where the machine has huge
                                pages reserved, 0 elsewhere */
    uint64_t footprint;      /* MW_HAS_FOOTPRINT */
    uint64_t footprint_peak; /* of this image; MW_HAS_WATERMARK. Of a process
                                that has ended it is final */
    enum mw_life life;
    uint32_t valid; /* MW_HAS_RSS, and those above */
    int new_image;  /* it seems to have executed something since last time */
} mw_reading;

/* See PARTS in api.h. Bytes. */
typedef struct mw_parts {
    uint64_t shmem;
    uint64_t swapped;
    uint64_t huge;
} mw_parts;

/* What is read of a process now and then, because it costs more. */
typedef struct mw_inspection {
    uint64_t watermark;
    uint64_t faults;
    mw_parts parts;
    uint32_t valid; /* MW_HAS_WATERMARK, MW_HAS_FAULTS */
    int has_parts;
    int new_image;
} mw_inspection;

/* What a process runs. */
typedef struct mw_image {
    uint64_t exec_id; /* differs for each execve of a process, most likely; a
                         fork has its parent's. 0: not known */
    size_t length;    /* of its text, laid out as mw_observation says; 0: the
                         process has gone */
    uint32_t valid;
} mw_image;

/* Begins to follow a process. `*out` is NULL if it has vanished. */
int mw_platform_attach(mw_platform *platform, int32_t pid, mw_handle **out,
                       mw_identity *identity);
void mw_platform_detach(mw_platform *platform, mw_handle *handle);

/* Reads a process at a tick. Adds its children to `found`, also those that are
   known already. */
int mw_platform_poll(mw_platform *platform, mw_handle *handle, int64_t now,
                     mw_reading *out, mw_pids *found);

int mw_platform_inspect(mw_platform *platform, mw_handle *handle,
                        mw_inspection *out);

/* Writes the text of the image that runs now, at most `capacity` bytes. */
void mw_platform_image(mw_platform *platform, mw_handle *handle, char *text,
                       size_t capacity, mw_image *out);

/* Takes the wait status of a child of this process that has ended: 1 and
   `*status`, else 0. `*peak` is its highest resident size if that is certain,
   or 0. */
int mw_platform_reap(mw_platform *platform, mw_handle *handle, int *status,
                     uint64_t *peak);

/* -- memory.c: memory that is not read at every tick ---------------------- */

/* The proportional set size of a process. */
typedef struct mw_shares {
    uint64_t pss;
    uint64_t anonymous; /* the part of it that is anonymous memory, or where the
                           system does not say, a lower bound of that */
    uint64_t shmem;     /* the part that is shared memory; 0 where the system
                           does not say, and so are the next two */
    uint64_t swapped;   /* its part of what is swapped out, not in `pss` */
    uint64_t huge;      /* huge pages of hugetlbfs that it has alone, neither */
} mw_shares;

/* Reads the proportional set size of a process, which may take seconds: 0;
   -ESRCH: it has ended; -ENOTSUP: it cannot be had of any process here; or
   -errno. From any thread, as the next one. */
int mw_platform_pss(const mw_platform *platform, int32_t pid, mw_shares *out);

/* No system has smaller pages: a page fault brings this much at least. */
enum { MW_SMALLEST_PAGE = 4096 };

/* The memory of a process at one moment. */
typedef struct mw_memory {
    uint64_t rss;
    uint64_t shared; /* of it mapped files and shared memory; 0: not known */
    uint64_t faults; /* minor page faults in all its life; 0: not known */
} mw_memory;

/* Reads the memory of a process: 0, or -errno if it has ended. */
int mw_platform_memory(const mw_platform *platform, int32_t pid,
                       mw_memory *out);

/* Returns by how many bytes the system's high-water mark of a resident size may
   be too low. */
uint64_t mw_platform_roughness(const mw_platform *platform);

/* Returns the size of a page in bytes. */
uint64_t mw_platform_page(const mw_platform *platform);

#define MW_ANY_SIZE UINT64_MAX /* a fault may give any number of pages */

/* Returns how many bytes all processes of the machine have got in transparent
   huge pages since it booted; 0 where there are none. MW_ANY_SIZE where they
   have several sizes: no count of faults bounds what they gave. */
uint64_t mw_platform_huge_faults(const mw_platform *platform);

/* Returns whether two processes have one address space, as after vfork. */
int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other);

/* -- available.c: memory that is available to the job ---------------------- */

/* Reads how much memory is available: the least of what the machine has and of
   what the control groups of mw_sampler_options leave. `*in_group`: it is one
   of those that have the least. A group is read to the end only where it may
   have less than `enough`. 0 or -errno, -ENOTSUP: the system does not say. */
int mw_platform_available(mw_platform *platform, uint64_t enough,
                          uint64_t *bytes, int *in_group);

/* -- written.c: files in memory that the job writes ------------------------ */

/* Room for a path. A file with a longer one is known while it is open. */
enum { MW_WRITTEN_PATH = 256 };

/* A regular file in one of the file systems of mw_sampler_options.tmpfs. */
typedef struct mw_written {
    uint64_t device;
    uint64_t inode;
    uint64_t bytes;  /* that it takes, in memory or swapped out */
    int64_t created; /* by the wall clock; 0: not known */
    int32_t pid;     /* of a process that has it open for writing, and its */
    int32_t fd;      /* descriptor */
    char path[MW_WRITTEN_PATH];
} mw_written;

enum mw_written_state {
    MW_WRITTEN_OPEN,   /* that process has it open */
    MW_WRITTEN_CLOSED, /* it has not, but the file is still there */
    MW_WRITTEN_GONE
};

/* Calls `found` for each such file that a process has open for writing. Returns
   how many descriptors it looked at, or -errno. */
int mw_platform_written(const mw_platform *platform, int32_t pid,
                        void (*found)(void *context, const mw_written *file),
                        void *context);

/* Reads the size of such a file again. */
enum mw_written_state mw_platform_written_again(const mw_platform *platform,
                                                mw_written *file);

/* -- signal_job.c: signals to the job ------------------------------------- */

/* Sends a signal to every living process of the job, as mw_sampler_signal()
   describes, and adds their pids to `found`. With `reap`, takes the wait status
   of orphans that have ended, and returns their number. From any thread. */
int mw_platform_signal_job(const mw_platform *platform, int number, int reap,
                           mw_pids *found);

/* -- signals.c: signals to memwatch ---------------------------------------
      mw_signals_open(), mw_signals_next() */

/* -- host.c: this process and its clock ------------------------------------
      mw_now(), mw_subreaper(), mw_own_usage(), mw_backend() */

/* Names the calling thread, for debuggers and lists of threads. */
void mw_platform_name_thread(const char *name);

/* Sets the environment that execvp(3) gives to the program, in the child that
   mw_spawn() forks. */
void mw_platform_set_environment(char *const envp[]);

/* -- probe.c: which event sources work -------------------------------------
      mw_probe() */

/* -- hook.c: the exit hook -------------------------------------------------
      mw_hook_new(), mw_hook_state(), mw_hook_free() */

/* Installs the filter, in the child that mw_spawn() forks, before it executes
   the command. */
void mw_hook_install(mw_hook *hook);

/* -- scan.c: every process of the machine ----------------------------------
      mw_scan() */

#endif
