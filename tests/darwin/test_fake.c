/* The fake macOS by itself: each case is a fact about xnu that the Darwin files
   rely on. */
#include <errno.h>
#include <libproc.h>
#include <mach/mach_time.h>
#include <poll.h>
#include <signal.h>
#include <sys/event.h>
#include <sys/sysctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fake.h"

static const int64_t MS = 1000000;

enum { UNIQUE = 17 };

typedef struct {
    uint8_t uuid[16];
    uint64_t unique, parent_unique;
    int32_t version, parent_version;
    uint64_t spare[2];
} identity;

static void begin(const char *text) {
    fake_reset();
    CHECK(!fake_script(text));
}

static struct rusage_info_v4 usage_of(int pid) {
    struct rusage_info_v4 usage;
    CHECK(!proc_pid_rusage(pid, RUSAGE_INFO_V4, (rusage_info_t *)&usage));
    return usage;
}

static identity identity_of(int pid) {
    identity who;
    CHECK(proc_pidinfo(pid, UNIQUE, 1, &who, sizeof who) == sizeof who);
    return who;
}

static int short_info(int pid, int zombies, struct proc_bsdshortinfo *out) {
    return proc_pidinfo(pid, PROC_PIDT_SHORTBSDINFO, (uint64_t)zombies, out,
                        sizeof *out) == sizeof *out;
}

/* Which user may ask what. */
static void permissions(void) {
    begin("me 50 501\nstart 50 1 memwatch\nstart 60 50 mine\n"
          "start 70 50 theirs\nset 70 uid 0 rss 5M");
    struct proc_bsdinfo full;
    struct proc_taskinfo task;
    struct proc_bsdshortinfo brief;
    struct rusage_info_v4 usage;
    char path[PROC_PIDPATHINFO_MAXSIZE];
    CHECK(short_info(70, 0, &brief) && brief.pbsi_uid == 0);
    CHECK(proc_pidpath(70, path, sizeof path) == 15);
    CHECK(identity_of(70).unique);
    CHECK(proc_pidinfo(70, PROC_PIDTBSDINFO, 0, &full, sizeof full) == 0 &&
          errno == EPERM);
    CHECK(proc_pidinfo(70, PROC_PIDTASKINFO, 0, &task, sizeof task) == 0 &&
          errno == EPERM);
    CHECK(proc_pid_rusage(70, RUSAGE_INFO_V4, (rusage_info_t *)&usage) == -1 &&
          errno == EPERM);
    CHECK(proc_pidinfo(60, PROC_PIDTBSDINFO, 0, &full, sizeof full) == 136);
    CHECK(proc_pidinfo(71, PROC_PIDTBSDINFO, 0, &full, sizeof full) == 0 &&
          errno == ESRCH);
    CHECK(proc_pidinfo(60, PROC_PIDTBSDINFO, 0, &full, 100) == 0 &&
          errno == ENOMEM);
    CHECK(kill(70, SIGTERM) == -1 && errno == EPERM);
    CHECK(getpid() == 50 && geteuid() == 501);
}

/* What is left of a process that has ended, until it is reaped. */
static void zombie(void) {
    begin("me 50 501\nstart 50 1 memwatch\nfork 50 60\n"
          "set 60 rss 8M footprint 6M\nset 60 footprint 2M user 30\n"
          "at 5\nexiting 60 256\nat 6\nexit 60");
    struct proc_bsdshortinfo brief;
    struct rusage_info_v4 usage = usage_of(60);
    CHECK(usage.ri_phys_footprint == 2 << 20 && !usage.ri_proc_exit_abstime);
    int status;
    fake_advance(5 * MS);
    CHECK(!short_info(60, 0, &brief) && errno == ESRCH);
    CHECK(short_info(60, 1, &brief) && brief.pbsi_status == SRUN);
    CHECK(brief.pbsi_flags & PROC_FLAG_INEXIT);
    CHECK(waitpid(60, &status, WNOHANG) == 0);
    fake_advance(6 * MS);
    CHECK(short_info(60, 1, &brief) && brief.pbsi_status == SZOMB);
    usage = usage_of(60);
    CHECK(usage.ri_phys_footprint == 0 && usage.ri_resident_size == 8 << 20);
    CHECK(usage.ri_lifetime_max_phys_footprint == 6 << 20);
    CHECK(usage.ri_proc_exit_abstime == 5000000);
    CHECK(getpgid(60) == -1 && errno == ESRCH);
    CHECK(!kill(60, SIGKILL));
    CHECK(waitpid(60, &status, WNOHANG) == 60 && WEXITSTATUS(status) == 1);
    CHECK(!short_info(60, 1, &brief) && errno == ESRCH);
    CHECK(waitpid(60, &status, WNOHANG) == -1 && errno == ECHILD);
}

/* Unique ids, also those of parents. */
static void identities(void) {
    begin("me 50 501\nstart 50 1 memwatch\nfork 50 60\nfork 60 61\nat 1\n"
          "exit 60\nreap 60\nat 2\nexec 61 /bin/sh\nat 3\nexit 61\n"
          "fork 50 61");
    identity parent = identity_of(60), child = identity_of(61);
    struct proc_bsdshortinfo brief;
    CHECK(child.parent_unique == parent.unique);
    fake_advance(MS);
    CHECK(short_info(61, 0, &brief) && brief.pbsi_ppid == 1);
    CHECK(identity_of(61).parent_unique == parent.unique);
    fake_advance(2 * MS);
    CHECK(identity_of(61).parent_unique == identity_of(1).unique);
    CHECK(identity_of(61).unique == child.unique);
    CHECK(identity_of(61).version != child.version);
    fake_advance(3 * MS);
    CHECK(identity_of(61).unique > child.unique);
}

static int list_all(struct kinfo_proc *out, size_t *size) {
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_ALL};
    return sysctl(name, 3, out, size, NULL, 0);
}

/* The table of processes, which grows between the two calls. */
static void table(void) {
    begin("me 50 501\nstart 50 1 memwatch\ngrow 20");
    struct kinfo_proc rows[40];
    size_t size = 0;
    CHECK(!list_all(NULL, &size) && size == 8 * sizeof *rows);
    CHECK(list_all(rows, &size) == -1 && errno == ENOMEM);
    CHECK(size == 8 * sizeof *rows);
    size = sizeof rows;
    CHECK(!list_all(rows, &size) && size == 23 * sizeof *rows);
    CHECK(rows[20].kp_proc.p_pid == 50 && rows[20].kp_eproc.e_ppid == 1);
    CHECK(rows[20].kp_proc.p_starttime.tv_usec == 250000);
    CHECK(!fake_script("fail scan 12 1"));
    CHECK(proc_listallpids(NULL, 0) == 0 && errno == 12);
    CHECK(proc_listallpids(NULL, 0) == 43 && fake_calls("scan") == 5);
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, 4711};
    size = sizeof rows;
    CHECK(!sysctl(name, 4, rows, &size, NULL, 0) && !size);
}

static void arguments(void) {
    begin("me 50 501\nstart 50 1 memwatch memwatch run\n"
          "start 70 1 other\nset 70 uid 0");
    int name[] = {CTL_KERN, KERN_PROCARGS2, 50};
    char text[256];
    int32_t argc;
    size_t size = sizeof text;
    CHECK(!sysctl(name, 3, text, &size, NULL, 0));
    memcpy(&argc, text, sizeof argc);
    CHECK(argc == 2 && !strcmp(text + 4, "/usr/bin/memwatch"));
    CHECK(!memcmp(text + 4 + 24, "memwatch\0run\0HOME=", 18));
    /* A short buffer gets the end, of which as much is zeros as is missing to a
       whole page. */
    size = 24;
    memset(text, 'x', sizeof text);
    CHECK(!sysctl(name, 3, text, &size, NULL, 0) && size == 24);
    CHECK(text[4] == 0 && text[23] == 0 && text[24] == 'x');
    name[2] = 70;
    size = sizeof text;
    CHECK(sysctl(name, 3, text, &size, NULL, 0) == -1 && errno == EINVAL);
    name[2] = 0;
    CHECK(sysctl(name, 3, text, &size, NULL, 0) == -1 && errno == EINVAL);
}

static int change(int kq, int pid, unsigned flags, unsigned notes) {
    struct kevent event;
    EV_SET(&event, (uintptr_t)pid, EVFILT_PROC, (uint16_t)flags, notes, 0,
           NULL);
    return kevent(kq, &event, 1, NULL, 0, NULL) ? errno : 0;
}

static int fetch(int kq, struct kevent *out, int room) {
    static const struct timespec none;
    return kevent(kq, NULL, 0, out, room, &none);
}

static void events(void) {
    begin("me 50 501\nstart 50 1 memwatch\nfork 50 60\nfork 50 70\n"
          "set 70 uid 0\nat 1\nfork 60 61\nexec 60 /bin/ls\nfork 60 62\n"
          "at 2\nexiting 60 9\nat 3\nlose on\nexit 61\nlose off");
    const unsigned notes = NOTE_FORK | NOTE_EXEC | NOTE_EXIT | NOTE_EXITSTATUS;
    struct kevent seen[4];
    int kq = kqueue();
    CHECK(kq >= 0 && fake_kqueues() == 1);
    CHECK(change(kq, 60, EV_ADD, notes | NOTE_TRACK) == ENOTSUP);
    CHECK(change(kq, 61, EV_ADD, notes) == ESRCH);
    CHECK(!change(kq, 60, EV_ADD, notes) && !change(kq, 70, EV_ADD, notes));
    CHECK(fetch(kq, seen, 4) == 0);
    fake_advance(MS);
    struct pollfd ready = {.fd = kq, .events = POLLIN};
    CHECK(poll(&ready, 1, 0) == 1);
    /* Both forks are one event, which does not name a child. */
    CHECK(fetch(kq, seen, 4) == 1 && seen[0].ident == 60);
    CHECK(seen[0].fflags == (NOTE_FORK | NOTE_EXEC) && !seen[0].data);
    CHECK(poll(&ready, 1, 0) == 0);
    CHECK(!change(kq, 61, EV_ADD, notes));
    fake_advance(2 * MS);
    /* It cannot be waited for yet; its end is reported once. */
    int status;
    CHECK(fetch(kq, seen, 4) == 1);
    CHECK(seen[0].fflags == (NOTE_EXIT | NOTE_EXITSTATUS) && seen[0].data == 9);
    CHECK(seen[0].flags & EV_EOF);
    CHECK(waitpid(60, &status, WNOHANG) == 0);
    CHECK(change(kq, 60, EV_DELETE, 0) == ENOENT);
    CHECK(change(kq, 60, EV_ADD, notes) == ESRCH);
    fake_advance(3 * MS);
    CHECK(fetch(kq, seen, 4) == 0);
    CHECK(fake_knotes() == 2);
    close(kq);
    CHECK(fake_kqueues() == 0);
}

/* Another user's process may be watched, but without its exit status. */
static void events_of_others(void) {
    begin("me 50 501\nstart 50 1 memwatch\nstart 70 1 other\nset 70 uid 0");
    int kq = kqueue();
    CHECK(change(kq, 70, EV_ADD, NOTE_EXIT | NOTE_EXITSTATUS) == EACCES);
    CHECK(!change(kq, 70, EV_ADD, NOTE_EXIT));
    close(kq);
}

static void ticks(void) {
    begin("ticks 125 3\nme 50 501\nstart 50 1 memwatch\nset 50 user 1000\n"
          "at 1000");
    uint64_t frequency;
    size_t size = sizeof frequency;
    fake_advance(1000 * MS);
    CHECK(!sysctlbyname("hw.tbfrequency", &frequency, &size, NULL, 0));
    CHECK(frequency == 24000000 && mach_continuous_time() == 24000000);
    CHECK(usage_of(50).ri_user_time == 24000000);
    mach_timebase_info_data_t base;
    CHECK(!mach_timebase_info(&base) && base.numer == 125 && base.denom == 3);
    CHECK(!fake_script("ticks 125 3 translated"));
    CHECK(!mach_timebase_info(&base) && base.numer == 1);
    CHECK(mach_continuous_time() == 1000000000);
    CHECK(usage_of(50).ri_user_time == 24000000);
}

static void script_errors(void) {
    fake_reset();
    CHECK(fake_script("at 1\n\n# no\nfrok 1 2\n") == 4);
}

int main(void) {
    permissions();
    zombie();
    identities();
    table();
    arguments();
    events();
    events_of_others();
    ticks();
    script_errors();
    fake_reset();
    return 0;
}
