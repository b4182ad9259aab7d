/*
 * How a test drives the fake macOS: declarations only, so that cffi reads this
 * file, too. One machine per program; there is no other way, since neither
 * libproc nor kqueue takes one as an argument.
 *
 * A machine is *scripted*, its processes made up and its clock the test's, or
 * *live*: the real processes of this Linux machine, as macOS would show them.
 *
 * A script is lines of words: `at MS` says when the lines below it happen, and
 * every other line is a thing that happens. Sizes take K, M and G; a word may
 * have any byte as %XX.
 *
 *   ticks NUMER DENOM [translated]  ns per mach tick; under Rosetta
 *   boot SECONDS            the wall clock at boot
 *   me PID UID              who asks
 *   start PID PPID NAME [WORD...]   a process, with words for its argv
 *   fork PARENT PID [WORD...]            with a copy of all of it
 *   exec PID PATH [WORD...]              another image: words are its argv
 *   set PID KEY VALUE...    rss, footprint, user, system (ms), read, written,
 *                           uid, pgid, sid, comm, cwd, ignores (a
 *                           signal)
 *   args PID TEXT           the bytes of KERN_PROCARGS2, argc too
 *   dying PID STATUS        its memory is being freed, which takes time
 *   exiting PID STATUS      on its way out: word is given, no zombie yet
 *   exit PID [STATUS]       a zombie; of launchd's children nothing is left
 *   reap PID
 *   reparent PID PPID
 *   grow COUNT              so many more of launchd's, right after the next
 *                           question how large the table is
 *   vanish PID              gone, reaped, right after the next table
 *   lose on|off             kqueue tells nothing of what happens meanwhile
 *   fail WHAT ERRNO COUNT [AFTER]   COUNT calls, after AFTER others: scan,
 *                           rusage, shortinfo, unique, path, args, kqueue,
 *                           register
 */

/* Makes an empty scripted machine: launchd and the kernel only, at time 0. */
void fake_reset(void);

/* Reads a script. 0, or the number of the first line that is wrong. */
int fake_script(const char *text);

/* Lets the clock go on to `time`, in ns since boot, and what is due happen. */
void fake_advance(int64_t time);

/* Lets the clock go on by itself from now on, as fast as the real one. */
void fake_run(void);

/* Makes it live; `ticks` are ns per mach tick: numer / denom. */
void fake_live(uint32_t numer, uint32_t denom);

/* How often something was asked of the machine since it was made: the names are
   those of `fail`, and "kevent", "taskinfo" and "bsdinfo". */
long fake_calls(const char *what);

/* How many kqueues are open, and how many things they watch in all. */
int fake_kqueues(void);
int fake_knotes(void);
