/*
 * csrc/linux/memory.c and pss.c on real processes that share a known memory.
 *
 *     test_pss_linux PSS_JOB CASE
 *
 * Exit status 77: the case cannot be tested here; the reason is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "pss.h"
#include "state.h"

enum { NOBODY = 65534, MOST = 8, PATIENCE_MS = 60000 };

static const uint64_t MIB = 1 << 20;

static const char *job_program;

static struct mw_platform platform;
static mw_table table;

static struct {
    pid_t pid; /* of the first process */
    int input; /* closing it ends them all */
    int32_t pids[MOST];
} job;

static void skip(const char *why) {
    puts(why);
    exit(77);
}

/* --- processes --- */

static void start(size_t count, const char *words[]) {
    int in[2], out[2];
    CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
    job.pid = fork();
    CHECK(job.pid >= 0);
    if (!job.pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execv(job_program, (char *const *)words);
        _exit(98);
    }
    close(in[0]);
    close(out[1]);
    job.input = in[1];
    size_t size = count * sizeof *job.pids, have = 0;
    while (have < size) {
        struct pollfd ready = {.fd = out[0], .events = POLLIN};
        CHECK(poll(&ready, 1, PATIENCE_MS) == 1);
        ssize_t n = read(out[0], (char *)job.pids + have, size - have);
        CHECK(n > 0);
        have += (size_t)n;
    }
    close(out[0]);
    CHECK(job.pids[0] == job.pid);
}

#define START(count, ...)                                                      \
    start(count, (const char *[]){job_program, __VA_ARGS__, NULL})

static void end(void) {
    int status;
    close(job.input);
    CHECK(waitpid(job.pid, &status, 0) == job.pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Reads a file of /proc without memwatch. */
static const char *file_of(int32_t pid, const char *name) {
    static char text[1 << 20];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

static uint64_t rss_of(int32_t pid) {
    const char *statm = file_of(pid, "statm");
    unsigned long size, resident;
    CHECK(statm && sscanf(statm, "%lu %lu", &size, &resident) == 2);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Returns the sum over all mappings, as the kernel lists them in `smaps`. */
static uint64_t pss_of(int32_t pid) {
    const char *at = file_of(pid, "smaps");
    uint64_t sum = 0;
    while (at && (at = strstr(at, "\nPss:"))) {
        at += strlen("\nPss:");
        sum += strtoull(at, NULL, 10) * 1024;
    }
    return sum;
}

static char state_of(int32_t pid) {
    const char *stat = file_of(pid, "stat");
    CHECK(stat && strrchr(stat, ')'));
    return strrchr(stat, ')')[2];
}

static void await_state(int32_t pid, char state) {
    for (int i = 0; state_of(pid) != state; i++) {
        CHECK(i < PATIENCE_MS);
        usleep(1000);
    }
}

static int kcmp_works(void) {
    return syscall(SYS_kcmp, getpid(), getpid(), 1, 0ul, 0ul) == 0;
}

/* Refuses kcmp(2), as container runtimes do. */
static void refuse_kcmp(void) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof steps / sizeof *steps, steps};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        skip("no seccomp filters here");
    CHECK(!kcmp_works() && errno == EPERM);
}

/* --- sums --- */

static mw_slot *add(int32_t pid) {
    mw_slot *slot;
    CHECK(!mw_table_add(&table, pid, &slot));
    slot->rss = rss_of(pid);
    slot->has_rss = 1;
    return slot;
}

static mw_observation sum_all(void) {
    mw_pss *pss;
    mw_observation result;
    uint64_t total = 0;
    for (size_t i = 0; i < table.count; i++)
        total += table.slots[i].rss;
    CHECK(!mw_pss_new(&platform, MW_PSS_ALWAYS, &pss));
    CHECK(mw_pss_offer(pss, 4711, total, &table) == 1);
    for (int i = 0; !mw_pss_take(pss, &result); i++) {
        CHECK(i < PATIENCE_MS);
        usleep(1000);
    }
    CHECK(result.time == 4711 && result.kind == MW_PSS);
    mw_pss_free(pss);
    return result;
}

static int near(uint64_t value, uint64_t expected, uint64_t tolerance) {
    return value + tolerance >= expected && value <= expected + tolerance;
}

/* --- cases --- */

static void one(void) {
    mw_shares pss;
    START(1, "cow", "10", "0");
    CHECK(!mw_platform_pss(&platform, job.pid, &pss));
    /* The PSS of each mapping is rounded down to a KiB. */
    uint64_t expected = pss_of(job.pid);
    CHECK(expected > 10 * MIB && near(pss.pss, expected, MIB / 8));
    CHECK(rss_of(job.pid) >= pss.pss);
    end();
    CHECK(mw_platform_pss(&platform, job.pid, &pss) == -ESRCH);
    CHECK(mw_platform_pss(&platform, 0x7ffffff0, &pss) == -ESRCH);
}

static void zombie(void) {
    mw_shares pss;
    START(1, "cow", "1", "0");
    close(job.input);
    await_state(job.pid, 'Z');
    CHECK(mw_platform_pss(&platform, job.pid, &pss) == -ESRCH && !pss.pss);
    CHECK(waitpid(job.pid, NULL, 0) == job.pid);
}

/* Four children only read what their parent has written. */
static void cow(void) {
    START(5, "cow", "100", "4");
    uint64_t rss = 0;
    for (size_t i = 0; i < 5; i++) {
        mw_slot *slot = add(job.pids[i]);
        rss += slot->rss;
        slot->ppid = i ? job.pid : getpid();
        slot->inherited = i > 0;
    }
    mw_observation result = sum_all();
    CHECK(rss > 500 * MIB);
    CHECK(result.value > 100 * MIB && result.value < 105 * MIB);
    CHECK(!result.second && !result.valid && result.process == rss);
    end();
}

/* A child between vfork and exec has its parent's memory. */
static void check_vfork(void) {
    add(job.pids[0]);
    mw_slot *child = add(job.pids[1]);
    child->ppid = job.pid;
    child->inherited = 1;
    CHECK(rss_of(job.pids[1]) > 100 * MIB);
    CHECK(mw_platform_shares_memory(&platform, job.pids[1], job.pid));
    mw_observation result = sum_all();
    CHECK(result.value > 100 * MIB && result.value < 105 * MIB);
    CHECK(!result.second && result.process > 200 * MIB);
    /* If it does not have that, it counts. */
    child->inherited = 0;
    result = sum_all();
    CHECK(result.value > 200 * MIB);
    end();
}

static void vfork_child(void) {
    START(2, "vfork", "100");
    await_state(job.pid, 'D');
    check_vfork();
}

static void vfork_in_thread(void) {
    if (!kcmp_works())
        skip("kcmp(2) is refused or missing here");
    START(2, "thread-vfork", "100");
    check_vfork();
}

static void vfork_without_kcmp(void) {
    refuse_kcmp();
    vfork_child();
}

/* A forked child does not have its parent's memory, though it looks the
   same. */
static void forked(void) {
    START(2, "cow", "10", "1");
    CHECK(!mw_platform_shares_memory(&platform, job.pids[1], job.pid));
    CHECK(mw_platform_shares_memory(&platform, job.pid, job.pid) ==
          kcmp_works());
    end();
    CHECK(!mw_platform_shares_memory(&platform, job.pids[1], job.pid));
}

static void forked_without_kcmp(void) {
    refuse_kcmp();
    forked();
}

/* The first thread is a zombie; the process is not. */
static void leader_ended(void) {
    START(1, "leader-ends", "10");
    await_state(job.pid, 'Z');
    mw_shares pss;
    CHECK(!mw_platform_pss(&platform, job.pid, &pss));
    CHECK(pss.pss > 10 * MIB && pss.pss < 12 * MIB);
    CHECK(pss.anonymous > 10 * MIB && pss.anonymous <= pss.pss);
    end();
}

/* A process of root is read by another user. */
static void other_user(void) {
    int32_t pid = 1;
    if (geteuid() == 0) {
        START(1, "cow", "10", "0");
        pid = job.pid;
        /* This affects this thread, and the reading thread that it makes. */
        CHECK(!syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY));
        CHECK(!syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY));
    }
    struct stat owner;
    if (stat("/proc/1", &owner) || !file_of(pid, "statm"))
        skip("processes of others are hidden here");
    if (pid == 1 && owner.st_uid == geteuid())
        skip("no process of another user that is certain to stay");
    mw_shares pss;
    uint64_t rss = add(pid)->rss;
    CHECK(mw_platform_pss(&platform, pid, &pss) == -EACCES);
    mw_observation result = sum_all();
    CHECK(result.value == rss && rss > 0);
    CHECK(result.second == 1 && result.valid == MW_TICK_PARTIAL);
    CHECK(result.process == rss);
    if (job.pid)
        end();
}

/* Files in a tree made here, one without `smaps_rollup` as on an old kernel. */
static void made_up(void) {
    char tree[] = "/tmp/test_pss.XXXXXX", path[64];
    static const char *const files[] = {"12/statm", "13/smaps_rollup"};
    static const char *const texts[] = {
        "100 50 20 1 0 30 0\n",
        "0-1 ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss: 7 kB\n"};
    CHECK(mkdtemp(tree));
    int real = platform.proc_fd;
    platform.proc_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    platform.real = 0;
    CHECK(platform.proc_fd >= 0);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%.2s", files[i]);
        CHECK(!mkdirat(platform.proc_fd, path, 0755));
        int fd = openat(platform.proc_fd, files[i], O_WRONLY | O_CREAT, 0644);
        size_t length = strlen(texts[i]);
        CHECK(fd >= 0 && write(fd, texts[i], length) == (ssize_t)length);
        close(fd);
    }
    mw_shares pss;
    CHECK(mw_platform_pss(&platform, 12, &pss) == -ENOTSUP);
    CHECK(mw_platform_pss(&platform, 13, &pss) == 0 && pss.pss == 7 * 1024);
    CHECK(!pss.anonymous); /* its size is not known either */
    CHECK(mw_platform_pss(&platform, 14, &pss) == -ESRCH);
    CHECK(!mw_platform_shares_memory(&platform, 12, 12));
    for (size_t i = 0; i < 2; i++) {
        CHECK(!unlinkat(platform.proc_fd, files[i], 0));
        snprintf(path, sizeof path, "%.2s", files[i]);
        CHECK(!unlinkat(platform.proc_fd, path, AT_REMOVEDIR));
    }
    CHECK(!rmdir(tree));
    close(platform.proc_fd);
    platform.proc_fd = real;
}

static const test_case CASES[] = {
    {"one", one},
    {"zombie", zombie},
    {"cow", cow},
    {"vfork", vfork_child},
    {"vfork-in-thread", vfork_in_thread},
    {"vfork-without-kcmp", vfork_without_kcmp},
    {"forked", forked},
    {"forked-without-kcmp", forked_without_kcmp},
    {"leader-ended", leader_ended},
    {"other-user", other_user},
    {"made-up", made_up},
};

int main(int argc, char **argv) {
    CHECK(argc == 3);
    job_program = argv[1];
    platform.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    platform.real = 1;
    platform.roughness = 256 << 10;
    platform.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    CHECK(platform.proc_fd >= 0);
    FIND_CASE(CASES, argv[2])->run();
    mw_table_free(&table);
    close(platform.proc_fd);
    return 0;
}
