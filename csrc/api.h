/*
 * The whole contract between the C side and its callers: declarations only, so
 * that the C compiler includes this file and cffi's cdef() reads it.
 *
 * Units:      bytes and nanoseconds. Times count from boot, suspend included,
 *             so that they compare with the start times the kernel reports.
 * Errors:     a function returns 0 (or a count) on success and -errno on
 *             failure. A process that vanished is not an error.
 * Ownership:  the caller owns every buffer it passes; C keeps none of them.
 * Unknown:    a value that could not be read has its bit missing in `valid`;
 *             its field is then 0 and means nothing.
 * Words:      a tick reads every process of the job once; an image is what a
 *             process runs between two execve calls; a high-water mark is the
 *             highest value of a size so far.
 */

/* What an observation is about: see the table at mw_observation. */
enum mw_kind {
    MW_STARTED = 1, /* a process joined the job, or more is known about that */
    MW_IMAGE = 2,   /* the program that a process runs */
    MW_MEMORY = 3,  /* resident size of a process, and its high-water mark */
    MW_EXITED = 4,  /* a process has ended; nothing about it follows */
    MW_TICK = 5,    /* a tick is complete */
    MW_CPU = 6,     /* CPU time that a process has used in all its life */
    MW_IO = 7,      /* bytes that a process has moved in all its life */
    MW_PSS = 8,     /* memory of the job with shared pages counted once */
    MW_FOOTPRINT = 9, /* physical footprint of a process, or of the job, where
                         the system has it (macOS): what a process is charged
                         for, compressed memory included */
    MW_FAULTS = 10,   /* page faults of a process that shares memory with the
                         one that forked it, or with those that it forked */
    MW_PARTS = 11,    /* what a process holds beside its own resident pages */
    MW_TMPFS = 12,    /* what is stored in file systems that are in memory */
    MW_AVAILABLE = 13 /* memory that is available to the job */
};

/* Bits of mw_observation.valid and mw_process.valid. Names of kinds say where a
   bit may be set. */
enum mw_valid {
    MW_HAS_PARENT = 1,    /* STARTED: the parent is a process of the job */
    MW_HAS_START = 2,     /* STARTED: start time */
    MW_HAS_RSS = 4,       /* MEMORY, TICK: resident size */
    MW_HAS_WATERMARK = 8, /* MEMORY, FOOTPRINT: high-water mark of this image */
    MW_HAS_STATUS = 16,   /* EXITED: wait status */
    MW_HAS_EXE = 32,      /* IMAGE: path of the executable */
    MW_HAS_ARGV = 64,     /* IMAGE: command line */
    MW_ARGV_CUT = 128,    /* IMAGE: the command line continues */
    MW_INHERITED = 256,   /* IMAGE: forked, and has executed nothing yet */
    MW_TICK_LATE = 512,   /* TICK: began more than half an interval late */
    MW_TICK_EXTRA = 1024, /* TICK: outside the regular interval: in the dense
                             start, near a limit, or at the end of the job */
    MW_TICK_PARTIAL = 2048, /* TICK: the memory of a process was unreadable, so
                               the sum is a lower bound. PSS: some processes
                               count with their resident size, so the sum is an
                               upper bound */
    MW_SAME_IMAGE = 4096,   /* IMAGE: more is known about the last one */
    MW_FINAL = 8192,        /* MEMORY, FOOTPRINT: the high-water mark is that of
                               the image at its end, not so far */
    MW_BY_EVENT = 16384,  /* STARTED: known from the kernel's event of the fork.
                             EXITED: it ended at exactly this time */
    MW_BY_RECORD = 32768, /* STARTED: known from the kernel's exit record */
    MW_BY_HOOK = 65536,   /* STARTED: known from the exit hook. With none of
                             these three a tick has found the process */
    MW_HAS_CPU = 131072,  /* CPU */
    MW_HAS_IO = 262144,   /* IO */
    MW_HAS_CWD = 524288,  /* IMAGE: working directory when it was read */
    MW_HAS_FOOTPRINT = 1048576, /* FOOTPRINT: the footprint at this time */
    MW_HAS_SHARED = 2097152,    /* MEMORY, TICK: pages of files and shared
                                   memory */
    MW_TICK_DETAILED = 4194304, /* TICK: the FAULTS and PARTS of every process
                                   for which they matter are of this tick */
    MW_HAS_FAULTS = 8388608,    /* FAULTS */
    MW_LOWER = 16777216,   /* PSS: memory may be missing in the sum, because
                             mappings changed while it was made: a lower bound */
    MW_IN_GROUP = 33554432 /* AVAILABLE: in a control group, not the machine */
};

/* Event sources, which report what happens between ticks. A set is an or. */
enum mw_source {
    MW_CONNECTOR = 1, /* proc connector: every fork, exec and exit */
    MW_PERF = 2,      /* perf side-band: the same, for the job only */
    MW_TASKSTATS = 4, /* the kernel's record of every exit */
    MW_HOOK = 8,      /* the exit hook, below */
    MW_KQUEUE = 16    /* macOS: that a process forked, executed or ended */
};

/* Tries whether a source works here: 0, or -errno that says why not. -ENOTSUP:
   not on this system. */
int mw_probe(uint32_t source);

/*
 * The exit hook: the command is started under a seccomp filter, which stops
 * each process of the job just before exit_group and execve, until a guardian,
 * a separate process, has read it. The guardian lives as long as the job,
 * whatever happens to the process that has started it.
 */
typedef struct mw_hook mw_hook;

/* Starts the guardian. */
int mw_hook_new(mw_hook **out);

/* Returns, after mw_spawn(), 0 if the filter is in place, or -errno that says
   why not. -EBUSY: another filter like it is there already, for example that of
   another memwatch. */
int mw_hook_state(const mw_hook *hook);

/* Frees the hook, after the sampler that used it. The guardian goes on while it
   has processes to serve. NULL is allowed. */
void mw_hook_free(mw_hook *hook);

/*
 * One fact about the job, at `time`. `process` is a serial number, except where
 * the table says otherwise: the first process is 1, a serial is never used
 * twice, and a reused pid gets a new serial. `pid` is set in every observation
 * of a process, `ppid` in STARTED only; both are 0 in the others.
 *
 * `valid` has the bits named here; a bit in brackets may be missing, and then
 * its field is 0. Fields that are not named are 0.
 *
 *   STARTED    value    serial of the parent [HAS_PARENT]
 *              second   start time [HAS_START]
 *              valid    at most one of BY_EVENT, BY_RECORD, BY_HOOK
 *              It comes again for the same serial when more is known, then
 *              with none of those three.
 *
 *   IMAGE      time     when the image began
 *              value    offset of its text
 *              second   length of its text
 *              valid    [HAS_EXE] [HAS_ARGV] [ARGV_CUT] [HAS_CWD] [INHERITED]
 *              With SAME_IMAGE it is about the last image again: either the
 *              text replaces that one's; or there is none, `second` is 0, and
 *              `time` is when that image really began.
 *
 *   MEMORY     in two forms, which HAS_RSS tells apart. With HAS_RSS:
 *              value    resident size now
 *              second   high-water mark of the image so far [HAS_WATERMARK];
 *                       only if it has risen
 *              third    bytes of the resident size that belong to files or to
 *                       shared memory [HAS_SHARED]; the others are anonymous
 *              Without HAS_RSS:
 *              value    by how many bytes `second` may be too low, since some
 *                       kernels count in batches; 0 if it is exact
 *              second   high-water mark of the image
 *              valid    HAS_WATERMARK [FINAL]: with FINAL it is that at the
 *                       image's end, without it the process may have grown
 *                       afterwards
 *
 *   FOOTPRINT  in three forms. With HAS_FOOTPRINT, of one process:
 *              value    footprint now
 *              second   its high-water mark in this image so far
 *                       [HAS_WATERMARK]; only if it has risen
 *              With HAS_WATERMARK and FINAL, and without HAS_FOOTPRINT:
 *              second   high-water mark of the footprint at the image's end
 *              With HAS_FOOTPRINT and `process` 0, before the TICK of the same
 *              time:
 *              value    sum over the job
 *              second   number of live processes that are missing in the sum
 *
 *   CPU        value    user time
 *              second   system time
 *              valid    HAS_CPU
 *
 *   IO         value    bytes read from storage
 *              second   bytes written to storage
 *              valid    HAS_IO
 *
 *   FAULTS     in two forms. Of one process:
 *              value    bytes that its page faults, minor and major, have given
 *                       it in all its life, one page each: at most so much does
 *                       it hold that it does not share with the process that
 *                       forked it, except in huge pages
 *              With `process` 0, before the TICK of the same time:
 *              value    bytes in transparent huge pages that all processes of
 *                       the machine have got since the sampler was made
 *              valid    HAS_FAULTS
 *
 *   PARTS      value    resident bytes of shared memory (shmem: tmpfs, memfd,
 *                       System V, shared anonymous mappings)
 *              second   bytes that are swapped out
 *              third    bytes in huge pages of hugetlbfs, which are in no
 *                       resident size
 *              Only when one of them has changed.
 *
 *   TMPFS      value    bytes stored in the file systems that the caller named,
 *                       above the least that was stored since the sampler was
 *                       made
 *              second   of these, bytes in files that a process of the job has
 *                       or had open for writing: all of a file that was created
 *                       since, or what an older one has grown by meanwhile. A
 *                       lower bound of what the job has stored
 *              Before the TICK of the same time, when one of them has changed.
 *
 *   EXITED     value    wait status, as wait(2) has it [HAS_STATUS]
 *              valid    [BY_EVENT]
 *
 *   TICK       process  number of ticks skipped before this one
 *              value    sum of the resident sizes
 *              second   number of live processes
 *              third    sum of the bytes of files and shared memory in it
 *                       [HAS_SHARED]
 *              valid    HAS_RSS [TICK_LATE] [TICK_EXTRA] [TICK_PARTIAL]
 *                       [TICK_DETAILED]
 *
 *   PSS        time     that of the tick before the sizes were read
 *              process  sum of the resident sizes that the processes in
 *                       `value` had at that tick
 *              value    sum of the proportional set sizes; a process that had
 *                       ended before it was read is not in it
 *              second   number of processes in it by resident size instead
 *              third    what the kernel cannot simply drop of the memory of the
 *                       others: anonymous and shared memory in `value`, and
 *                       their swap and huge pages. A lower bound of what the
 *                       job held, and not only with LOWER
 *              valid    TICK_PARTIAL if `second` is not 0 [LOWER]
 *
 *   AVAILABLE  value    memory that the machine, or the control group that has
 *                       least, has left; page cache that can be dropped is
 *                       left. Only with `min_available`: the first, each that
 *                       is lower by a MiB than any before, and each below it
 *              valid    [IN_GROUP]
 *
 * Order: the observations of one process begin with STARTED, have an IMAGE
 * before the first MEMORY or FOOTPRINT, and end with EXITED. TICKs come in the
 * order of time; others may come after a TICK that is later than they are.
 *
 * The text of an image is `name NUL exe NUL argv[0] NUL argv[1] NUL ...`; with
 * MW_HAS_CWD there is a `cwd NUL` before the argv[0]. `exe` is empty without
 * MW_HAS_EXE.
 */
typedef struct mw_observation {
    int64_t time;
    uint64_t process;
    uint64_t value;
    uint64_t second;
    uint32_t kind;
    uint32_t valid;
    int32_t pid;
    int32_t ppid;
    uint64_t third;
} mw_observation;

/* One process of a whole-machine scan. `name` is the kernel's (15 bytes). */
typedef struct mw_process {
    int64_t start;
    int32_t pid;
    int32_t ppid;
    uint32_t valid;
    char state; /* a letter of proc_pid_stat(5): 'Z' is a zombie */
    char name[19];
} mw_process;

/*
 * Reads every process under `proc_root`. `*count` is how many there are; if
 * that exceeds `capacity`, returns -ENOBUFS, and `out` is undefined.
 */
int mw_scan(const char *proc_root, mw_process *out, size_t capacity,
            size_t *count);

/* How to start a command. Signal sets are bit masks: bit N-1 is signal N. */
typedef struct mw_spawn_options {
    uint64_t blocked_signals; /* the command's signal mask */
    uint64_t default_signals; /* set to their default action */
    uint64_t nofile_soft;     /* soft limit on descriptors; 0: unchanged */
    int32_t stdout_fd;        /* its standard output; -1: inherited */
    int32_t stderr_fd;        /* its standard error; -1: inherited */
    mw_hook *hook; /* NULL: none. If it cannot be installed, the command still
                      starts: see mw_hook_state() */
    const char *group_file; /* cgroup.procs of the control group that the
                               command joins before it executes; NULL: none. If
                               it cannot join, it still starts */
    int32_t *group_error;   /* receives 0, or -errno that says why it has not
                               joined; NULL without a group_file */
} mw_spawn_options;

/*
 * Starts `argv`, looked up in PATH as execvp(3) does, and returns once it runs:
 * `*pid` has executed the command then, and is no copy of the caller any more.
 * Returns -errno if the command could not be executed.
 */
int mw_spawn(const mw_spawn_options *options, char *const argv[],
             char *const envp[], int32_t *pid);

/* When to sum proportional set sizes. To read one costs a thousand times as
   much as to read a process at a tick. */
enum mw_pss_mode {
    MW_PSS_OFF = 0,
    MW_PSS_PEAKS = 1, /* near the highest total, for a small part of the time */
    MW_PSS_ALWAYS = 2 /* after every tick that finds the last sum complete */
};

/* File systems in memory that a sampler watches at most. */
enum mw_tmpfs_limit { MW_TMPFS_MOST = 8 };
/* A control group whose limit holds for the job. */
typedef struct mw_group_limit {
    const char *folder;
    uint64_t limit;
} mw_group_limit;

/* What to sample. */
typedef struct mw_sampler_options {
    const char *proc_root; /* "/proc", or a tree made by a test */
    int64_t interval;      /* between ticks */
    int64_t batch;         /* longest wait before the reader is woken */
    int64_t burst;         /* for so long at first, ticks are 1 ms apart */
    int32_t adopter_pid;   /* the subreaper that gets the job's orphans: the
                              calling process, or 0 for none */
    int32_t
        has_other_children;   /* 1: the adopter may start other children
                                 meanwhile. They cannot be told from orphans that
                                 were not seen before, so neither are reaped */
    uint32_t max_descriptors; /* how many descriptors may be kept open */
    uint32_t sources; /* which of mw_source to use if they work; of MW_CONNECTOR
                         and MW_PERF only one is used */
    int32_t pss;      /* mw_pss_mode */
    const int32_t *tmpfs; /* descriptors of folders, one for each file system
                             in memory to watch */
    uint32_t tmpfs_count; /* MW_TMPFS_MOST at most; others are left out */
    mw_hook *hook;        /* whose events to read; NULL: none */
    /* Sizes: the reader is woken at once when one is exceeded, and again each
       time that the size has risen by 1 % and a MiB since. Near one, ticks are
       up to 1 ms apart. 0: none. */
    uint64_t total_limit;   /* of the sum of resident sizes, and therefore also
                               of the peak of any process */
    uint64_t process_limit; /* of the resident size or peak of one process */
    uint64_t pss_limit;     /* of the sum of proportional set sizes, by two sums
                               in a row */
    uint64_t footprint_limit; /* of the sum of footprints, where the system has
                                 them */
    uint64_t min_available;   /* the memory that must stay available */
    const mw_group_limit *groups; /* that `min_available` counts for as well */
    size_t group_count;
    int32_t group_version; /* 1 or 2 */
} mw_sampler_options;

/* Counters since the sampler was made. */
typedef struct mw_sampler_stats {
    uint64_t unkept;     /* processes read without a kept descriptor */
    uint64_t unreadable; /* processes whose memory could not be read */
    uint64_t scanning;   /* 1: no lists of children here, so /proc is scanned */
    uint64_t lost;       /* messages that sources have lost */
    uint32_t sources;    /* which of mw_source are in use, or were until they
                            failed */
    int32_t connector_error; /* -errno: why it is not used; 0: it is, or was not
                                wanted */
    int32_t perf_error;
    int32_t taskstats_error;
    int32_t kqueue_error; /* also if it refused to watch a process */
    int32_t error;        /* -errno that ended the sampling early, or 0 */
} mw_sampler_stats;

typedef struct mw_sampler mw_sampler;

/* Why mw_sampler_wait() returned: an or of these; 0 after the time-out, or for
   mw_sampler_wake() alone. */
enum mw_wake {
    MW_WAKE_BATCH = 1, /* there is something to read */
    MW_WAKE_ENDED = 2, /* the job's first process has ended; nothing follows */
    MW_WAKE_OTHER = 4  /* other_fd is readable, or a signal came */
};

/* Makes a sampler that is not running yet, before the command is started, so
   that no time is lost afterwards. Free it with mw_sampler_free(). */
int mw_sampler_new(const mw_sampler_options *options, mw_sampler **out);

/* Starts the sampling, in a thread: the job is the process `root_pid` and all
   its descendants. The thread reaps the root and the orphans that are
   adopted. */
int mw_sampler_start(mw_sampler *sampler, int32_t root_pid);

/* Makes one tick of the job of `root_pid` in the calling thread, at the time
   that the caller gives: for callers that bring their own clock. Not together
   with mw_sampler_start(), and always with the same root. */
int mw_sampler_tick(mw_sampler *sampler, int32_t root_pid, int64_t time);

/* Sleeps until there is a reason to read; `other_fd` may be -1. */
int mw_sampler_wait(mw_sampler *sampler, int other_fd, int timeout_ms);

/* Makes mw_sampler_wait() return: the one that sleeps, or else the next one.
   From any thread, for one that has found what the reader should know. */
void mw_sampler_wake(mw_sampler *sampler);

/*
 * Moves everything observed so far into the caller's buffers. If they are too
 * small, returns -ENOBUFS, moves nothing, and the counts say what is needed.
 */
int mw_sampler_read(mw_sampler *sampler, mw_observation *out, size_t capacity,
                    char *text, size_t text_capacity, size_t *count,
                    size_t *text_count);

/*
 * Sends a signal to every living process of the job; 0 only finds them. On
 * Linux these are all descendants of the adopter, whatever group or session
 * they are in, except children that it had before the sampler was made. On
 * macOS, which has no adopters, they are the known descendants of the job's
 * first process. A signal other than SIGKILL reaches each process once, however
 * often the job must be listed until no process is new. At most `capacity` of
 * their pids are written to `out`; `*count` is how many there were. From any
 * thread. Once the job's first process has ended, takes the wait status of
 * other orphans that have ended, and returns how many there were. -ENOTSUP
 * without an adopter, or if it has other children, which would get the signal.
 */
int mw_sampler_signal(mw_sampler *sampler, int number, int32_t *out,
                      size_t capacity, size_t *count);

/* Adds up the resident sizes of processes, those that have ended left out, and
   with a limit on the footprint the files in memory that they have open for
   writing. From any thread. */
void mw_sampler_resident(const mw_sampler *sampler, const int32_t *pids,
                         size_t count, uint64_t *sum);

void mw_sampler_stats_read(mw_sampler *sampler, mw_sampler_stats *out);

/* Ends the thread, if there is one, and frees everything. NULL is allowed. */
void mw_sampler_free(mw_sampler *sampler);

/* Makes the calling process adopt orphans among its descendants, or not.
   `*previous` is the setting before. -ENOTSUP if the system has no
   subreapers. */
int mw_subreaper(int enable, int *previous);

/* One signal sent to this process. */
typedef struct mw_signal {
    int32_t number;
    int32_t sender;      /* pid; 0: the kernel sent it, or it is not known */
    int32_t from_kernel; /* 1: from the terminal or the kernel, not a process.
                            On macOS, where that is not known: the signal is one
                            that a terminal's keys send, and this process is in
                            the foreground */
} mw_signal;

/* Opens a descriptor that becomes readable when one of `signals` arrives, which
   the caller has blocked. Close it with close(2). */
int mw_signals_open(uint64_t signals);

/* Takes the next signal: 1 and `*out`, or 0 if there is none. */
int mw_signals_next(int fd, mw_signal *out);

/* What the calling process itself has used so far. */
typedef struct mw_usage {
    int64_t cpu;       /* user and system time of all its threads */
    uint64_t rss_peak; /* high-water mark of its resident size */
    uint32_t valid;    /* MW_HAS_WATERMARK */
} mw_usage;

int mw_own_usage(mw_usage *out);

/* Returns the time since boot: the clock of every time above. */
int64_t mw_now(void);

/* Facts about this build: "YYYY-MM-DD", "linux-x86_64", "linux". */
const char *mw_build_date(void);
const char *mw_build_target(void);
const char *mw_backend(void);
