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
 */

/* What one observation says. The meaning of `value` and `second` follows. */
enum mw_kind {
    MW_STARTED = 1, /* a process joined the job. value: serial of its parent;
                       second: its start time. Said again when more is known */
    MW_IMAGE = 2,   /* the program it runs. value: offset of the text;
                       second: length of the text */
    MW_MEMORY = 3,  /* value: resident set size; second: its high-water mark */
    MW_EXITED = 4,  /* it is gone. value: wait status */
    MW_TICK = 5,    /* one pass over the job is complete. process: number of
                       ticks skipped before it; value: sum of the resident
                       sizes; second: number of live processes */
    MW_CPU = 6,     /* what it used in all its life. value: user time;
                       second: system time */
    MW_IO = 7,      /* value: bytes read from storage; second: written */
    MW_PSS = 8,     /* the job's memory with shared pages counted once, just
                       after the tick of this time. value: sum of proportional
                       set sizes; process: sum of the resident sizes that the
                       same processes had at that tick; second: number of those
                       of which the resident size was taken instead */
    MW_FOOTPRINT =
        9 /* physical footprint, where the system has it (macOS): what
             a process is charged for, compressed memory too.
             value: now; second: its high-water mark. With process
             0, before the tick of the same time: value: sum over the job;
             second: number of live processes that are not in it */
};

/* Bits of mw_observation.valid and mw_process.valid. */
enum mw_valid {
    MW_HAS_PARENT = 1,      /* STARTED: the parent was known in the job */
    MW_HAS_START = 2,       /* STARTED: start time */
    MW_HAS_RSS = 4,         /* MEMORY, TICK: resident size */
    MW_HAS_WATERMARK = 8,   /* MEMORY: high-water mark of this image so far */
    MW_HAS_STATUS = 16,     /* EXITED: wait status */
    MW_HAS_EXE = 32,        /* IMAGE: path of the executable */
    MW_HAS_ARGV = 64,       /* IMAGE: command line */
    MW_ARGV_CUT = 128,      /* IMAGE: the command line goes on */
    MW_INHERITED = 256,     /* IMAGE: forked, nothing executed yet */
    MW_TICK_LATE = 512,     /* TICK: began more than half an interval late */
    MW_TICK_EXTRA = 1024,   /* TICK: beside the regular interval: the dense
                               start, or the last look as the job ended */
    MW_TICK_PARTIAL = 2048, /* TICK: a process's memory was unreadable, so the
                               sum is a lower bound */
    MW_SAME_IMAGE = 4096,   /* IMAGE: not a new one; more is known of the last.
                               Without text: when it was executed */
    MW_FINAL = 8192,        /* MEMORY: the high-water mark at the image's end */
    MW_BY_EVENT = 16384,    /* STARTED: found by the kernel's word of the fork.
                               EXITED: at this very time, not noticed then */
    MW_BY_RECORD =
        32768,          /* STARTED: found by the kernel's record of its exit */
    MW_BY_HOOK = 65536, /* STARTED: found as it passed the exit hook */
    MW_HAS_CPU = 131072,
    MW_HAS_IO = 262144,
    MW_HAS_CWD = 524288, /* IMAGE: working directory, as it was looked at */
    MW_HAS_FOOTPRINT = 1048576 /* FOOTPRINT: now; its high-water mark has
                                  MW_HAS_WATERMARK, MW_FINAL */
};

/* Ways to learn what looking now and then cannot tell. A set is an or. */
enum mw_source {
    MW_CONNECTOR = 1, /* proc connector: every fork, exec and exit */
    MW_PERF = 2,      /* perf side-band: the same, of the job only */
    MW_TASKSTATS = 4, /* the kernel's record of every exit */
    MW_HOOK = 8,      /* the job stops for a moment before each exit and exec */
    MW_KQUEUE = 16    /* macOS: that a process forked, executed or ended */
};

/* Whether a source works here, by trying it: 0, or -errno why not. -ENOTSUP:
   not on this system. */
int mw_probe(uint32_t source);

/*
 * The exit hook: the command is started under a seccomp filter, and a guardian,
 * a process of its own, reads each process just before exit_group and execve.
 * The guardian lives as long as the job, whatever happens to its maker.
 */
typedef struct mw_hook mw_hook;

/* Starts the guardian. */
int mw_hook_new(mw_hook **out);

/* After mw_spawn(): 0 when the filter is in place, else -errno why it is not:
   -EBUSY for one that is there already, of another memwatch say. */
int mw_hook_state(const mw_hook *hook);

/* Lets go of it. The guardian goes on while it has processes to serve. After
   the sampler that used it. NULL is allowed. */
void mw_hook_free(mw_hook *hook);

/*
 * One fact about the job. `process` is a serial number: the first process is
 * 1, a serial is never used twice, and a reused pid gets a new serial.
 *
 * The text of an image is `name NUL exe NUL argv[0] NUL argv[1] NUL ...`; with
 * MW_HAS_CWD there is a `cwd NUL` before the argv[0].
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
} mw_observation;

/* One process of a whole-machine scan. `name` is the kernel's (15 bytes). */
typedef struct mw_process {
    int64_t start;
    int32_t pid;
    int32_t ppid;
    uint32_t valid;
    char state; /* as proc_pid_stat(5) has it: 'Z' is a zombie */
    char name[19];
} mw_process;

/*
 * Every process under `proc_root`. `*count` is how many there are; when that
 * exceeds `capacity`, returns -ENOBUFS and nothing in `out` is promised.
 */
int mw_scan(const char *proc_root, mw_process *out, size_t capacity,
            size_t *count);

/* How to start a command. Signal sets are bit masks: bit N-1 is signal N. */
typedef struct mw_spawn_options {
    uint64_t blocked_signals; /* the command's signal mask */
    uint64_t default_signals; /* set to their default action first */
    uint64_t nofile_soft;     /* soft limit on descriptors; 0: as it is */
    int32_t stdout_fd;        /* its standard output; -1: inherited */
    int32_t stderr_fd;        /* its standard error; -1: inherited */
    mw_hook *hook;            /* NULL: none. Failing to install it is no error:
                                 see mw_hook_state() */
} mw_spawn_options;

/*
 * Starts `argv`, looked up in PATH as execvp(3) does, and returns once it runs:
 * `*pid` is then never a copy of the caller. The reason why it could not be
 * executed comes back as -errno.
 */
int mw_spawn(const mw_spawn_options *options, char *const argv[],
             char *const envp[], int32_t *pid);

/* When to sum proportional set sizes, which cost a thousand times a look. */
enum mw_pss_mode {
    MW_PSS_OFF = 0,
    MW_PSS_PEAKS = 1, /* at new highs of the total, for 2 % of the time */
    MW_PSS_ALWAYS = 2 /* at every tick, as fast as it goes */
};

/* What to sample. */
typedef struct mw_sampler_options {
    const char *proc_root; /* "/proc", or a tree made by a test */
    int64_t interval;      /* between ticks */
    int64_t batch;         /* longest wait before the reader is woken */
    int64_t burst;         /* ticks are 1 ms apart for so long at first */
    int32_t adopter_pid;   /* the subreaper that the job's orphans go to:
                              the calling process, or 0 for none */
    int32_t
        has_other_children;   /* 1: the adopter may start children of its own
                                 meanwhile. They cannot be told from orphans
                                 that were not seen before: neither is reaped */
    uint32_t max_descriptors; /* how many descriptors may be kept open */
    uint32_t sources;         /* which of mw_source to use where they work; of
                                 MW_CONNECTOR and MW_PERF one is enough */
    int32_t pss;              /* mw_pss_mode */
    mw_hook *hook;            /* whose guardian to hear; NULL: none */
    /* Sizes: the reader is woken at once when one is exceeded for the first
       time. 0: none. */
    uint64_t total_limit;   /* of the sum of resident sizes, and so of the peak
                               of any process, too */
    uint64_t process_limit; /* of the resident size or peak of one process */
    uint64_t pss_limit;     /* of the sum of proportional set sizes */
} mw_sampler_options;

/* Counters since the sampler was made. */
typedef struct mw_sampler_stats {
    uint64_t unkept;     /* processes read without a kept descriptor */
    uint64_t unreadable; /* processes whose memory could not be read */
    uint64_t scanning;   /* 1: no lists of children here, /proc is scanned */
    uint64_t lost;       /* messages of sources that were lost */
    uint32_t sources;    /* which of mw_source are in use, or were until lost */
    int32_t connector_error; /* -errno why it is not; 0: in use or not wanted */
    int32_t perf_error;
    int32_t taskstats_error;
    int32_t kqueue_error; /* also of a process that it would not tell of */
    int32_t error;        /* -errno that ended the sampling early, or 0 */
} mw_sampler_stats;

typedef struct mw_sampler mw_sampler;

/* Why mw_sampler_wait() returned: an or of these, or 0 for the time-out. */
enum mw_wake {
    MW_WAKE_BATCH = 1, /* there is something to read */
    MW_WAKE_ENDED = 2, /* the job's first process has ended; nothing follows */
    MW_WAKE_OTHER = 4  /* other_fd is readable, or a signal came */
};

/* A sampler that is not running yet, made before the command is started so that
   no time is lost after. Free it with mw_sampler_free(). */
int mw_sampler_new(const mw_sampler_options *options, mw_sampler **out);

/* Samples from now on, in a thread of the sampler's own: the job is the process
   `root_pid` and all below it. The thread reaps the root and the orphans that
   it adopts. */
int mw_sampler_start(mw_sampler *sampler, int32_t root_pid);

/* Makes one tick of the job of `root_pid` in the calling thread, at the time
   the caller says: for callers that bring their own clock. Not together with
   mw_sampler_start(), and always with the same root. */
int mw_sampler_tick(mw_sampler *sampler, int32_t root_pid, int64_t time);

/* Sleeps until there is a reason to read; `other_fd` may be -1. */
int mw_sampler_wait(mw_sampler *sampler, int other_fd, int timeout_ms);

/*
 * Moves everything observed so far into the caller's buffers. When they are too
 * small, returns -ENOBUFS, moves nothing, and the counts say what is needed.
 */
int mw_sampler_read(mw_sampler *sampler, mw_observation *out, size_t capacity,
                    char *text, size_t text_capacity, size_t *count,
                    size_t *text_count);

/*
 * Sends a signal to every living process of the job; 0 only looks. On Linux
 * these are all below the adopter, wherever they have gone, but for children
 * that it had before the sampler was made. On macOS, which has no adopters,
 * they are those that are known to come from the job's first process. At most
 * `capacity` of their pids are written to `out`; `*count` is how many there
 * were. From any thread. Once the job's first process has ended, takes the wait
 * status of other orphans that have ended, and returns how many there were.
 * -ENOTSUP without an adopter, or when it has other children, which this would
 * strike.
 */
int mw_sampler_signal(mw_sampler *sampler, int number, int32_t *out,
                      size_t capacity, size_t *count);

void mw_sampler_stats_read(mw_sampler *sampler, mw_sampler_stats *out);

/* Ends the thread, if any, and frees everything. NULL is allowed. */
void mw_sampler_free(mw_sampler *sampler);

/* Makes the calling process adopt the orphans below it, or not; `*previous`
   is what it was. -ENOTSUP where the system has no such thing. */
int mw_subreaper(int enable, int *previous);

/* One signal sent to this process. */
typedef struct mw_signal {
    int32_t number;
    int32_t sender;      /* pid; 0 when the kernel sent it, or is not told */
    int32_t from_kernel; /* 1: from the terminal or the kernel, not a process.
                            On macOS, which does not tell, what a terminal's
                            keys send to who is in its foreground */
} mw_signal;

/* A descriptor that turns readable when one of `signals`, which the caller has
   blocked, arrives. Close it with close(2). */
int mw_signals_open(uint64_t signals);

/* Takes the next signal: 1 and `*out`, or 0 when there is none. */
int mw_signals_next(int fd, mw_signal *out);

/* What the calling process itself has used so far. */
typedef struct mw_usage {
    int64_t cpu;       /* user and system time of all its threads */
    uint64_t rss_peak; /* high-water mark of its resident size */
    uint32_t valid;    /* MW_HAS_WATERMARK */
} mw_usage;

int mw_own_usage(mw_usage *out);

/* Nanoseconds since boot: the clock of every time above. */
int64_t mw_now(void);

/* Facts about this build: "YYYY-MM-DD", "linux-x86_64", "linux". */
const char *mw_build_date(void);
const char *mw_build_target(void);
const char *mw_backend(void);
