/*
 * How a test drives the fake macOS: declarations only, so that cffi can read
 * this file as well. There is one machine per program, since neither libproc
 * nor kqueue takes a machine as an argument.
 *
 * A machine is *scripted*, with processes that are made up and a clock that the
 * test moves; or *live*, with the real processes of this Linux machine as macOS
 * would show them.
 *
 * A script is lines of words: `at MS` sets when the lines below it happen, and
 * every other line is something that happens. Sizes take K, M and G; a word may
 * have any byte as %XX.
 *
 *   ticks NUMER DENOM [translated]  ns per mach tick; under Rosetta
 *   boot SECONDS            the wall clock at boot
 *   me PID UID              the process that asks
 *   start PID PPID NAME [WORD...]   a process; the words are its argv
 *   fork PARENT PID [WORD...]       a process that is a copy of its parent
 *   exec PID PATH [WORD...]         another image; the words are its argv
 *   set PID KEY VALUE...    rss, footprint, user, system (ms), read, written,
 *                           uid, pgid, sid, comm, cwd, ignores (a signal)
 *   args PID TEXT           the bytes of KERN_PROCARGS2, argc included
 *   dying PID STATUS        its memory is being freed, which takes time
 *   exiting PID STATUS      exiting: the event is there, but no zombie yet
 *   exit PID [STATUS]       a zombie; a child of launchd is gone
 *   reap PID
 *   reparent PID PPID
 *   grow COUNT              adds children of launchd right after the next call
 *                           that asks how large the table is
 *   vanish PID              gone and reaped right after the next list
 *   lose on|off             kqueue reports nothing of what happens meanwhile
 *   fail WHAT ERRNO COUNT [AFTER]   COUNT calls fail, after AFTER others: scan,
 *                           rusage, shortinfo, unique, path, args, kqueue,
 *                           register
 */

/* Makes an empty scripted machine, with launchd and the kernel, at time 0. */
void fake_reset(void);

/* Reads a script: 0, or the number of the first line that is wrong. */
int fake_script(const char *text);

/* Moves the clock on to `time`, in ns since boot: what is due happens. */
void fake_advance(int64_t time);

/* Lets the clock run by itself from now on, as fast as the real one. */
void fake_run(void);

/* Makes the machine live, with numer / denom ns per mach tick. */
void fake_live(uint32_t numer, uint32_t denom);

/* Returns how often something was asked of the machine since it was made: the
   names are those of `fail`, and "kevent", "taskinfo" and "bsdinfo". */
long fake_calls(const char *what);

/* Return how many kqueues are open, and how many things they watch in all. */
int fake_kqueues(void);
int fake_knotes(void);
