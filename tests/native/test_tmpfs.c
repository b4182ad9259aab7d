/*
 * Files in memory: which bytes are the job's, on a file system made up here,
 * and when processes are searched for files, on the machine of world.h.
 *
 *     test_tmpfs CASE
 */
#include <sys/statvfs.h>

#include "clock.h"
#include "world.h"

static const uint64_t MIB = 1 << 20;

/* --- the file system --- */

enum { MOST_FILES = 100, MOST_HOLDERS = 2 };

typedef struct {
    uint64_t bytes;
    int64_t created;
    int is_linked;
    int32_t holders[MOST_HOLDERS]; /* that have it open for writing; 0: none */
} file;

static struct {
    file files[MOST_FILES];
    size_t count;
    uint64_t others;
    long searches; /* of processes */
} disk;

/* Instead of the C library's. */
int fstatvfs(int fd, struct statvfs *out) {
    (void)fd;
    uint64_t used = disk.others;
    for (size_t i = 0; i < disk.count; i++)
        used += disk.files[i].bytes;
    memset(out, 0, sizeof *out);
    out->f_frsize = 4096;
    out->f_blocks = 1 << 30;
    out->f_bfree = out->f_blocks - used / 4096;
    return 0;
}

static int is_held(const file *f, int32_t pid) {
    const process *p = process_of(pid);
    int is_holder = f->holders[0] == pid || f->holders[1] == pid;
    return pid && is_holder && p && p->life == MW_ALIVE;
}

static int written(int32_t pid, void (*found)(void *, const mw_written *),
                   void *context) {
    int looked = 3;
    disk.searches++;
    for (size_t i = 0; i < disk.count; i++) {
        const file *f = &disk.files[i];
        mw_written seen = {.device = 7,
                           .inode = i,
                           .bytes = f->bytes,
                           .created = f->created,
                           .pid = pid};
        if (is_held(f, pid)) {
            looked++;
            found(context, &seen);
        }
    }
    return looked;
}

static enum mw_written_state written_again(mw_written *of) {
    const file *f = &disk.files[of->inode];
    of->bytes = f->bytes;
    if (is_held(f, of->pid))
        return MW_WRITTEN_OPEN;
    return f->is_linked ? MW_WRITTEN_CLOSED : MW_WRITTEN_GONE;
}

static file *creates(int32_t pid, uint64_t mib) {
    CHECK(disk.count < MOST_FILES);
    file *made = &disk.files[disk.count++];
    *made = (file){.bytes = mib * MIB,
                   .created = mw_read_clock(CLOCK_REALTIME) + 1,
                   .is_linked = 1,
                   .holders = {pid}};
    return made;
}

static void closes(file *f) { f->holders[0] = f->holders[1] = 0; }

static void unlinks(file *f) { f->is_linked = 0; }

/* --- the job --- */

static void begin_watch(void) {
    static const int32_t fds[] = {0};
    world.written = written;
    world.written_again = written_again;
    mw_tmpfs_begin(&job.f.tmpfs, fds, 1);
}

static void start(void) {
    memset(&disk, 0, sizeof disk);
    begin(0);
    executes(born(ROOT, ADOPTER), "make");
    begin_watch();
    tick();
}

static void next(void) {
    world.now += 10 * MS;
    tick();
}

static void expect_at(int line, uint64_t stored, uint64_t written) {
    next();
    if (job.stored == stored * MIB && job.written == written * MIB)
        return;
    fprintf(stderr, "%s:%d: stored %g, written %g MiB\n", __FILE__, line,
            (double)job.stored / (double)MIB,
            (double)job.written / (double)MIB);
    exit(1);
}

/* Makes a tick, and compares with what is stored and written, in MiB. */
#define EXPECT(stored, written) expect_at(__LINE__, stored, written)

/* --- cases --- */

static void grows(void) {
    start();
    file *f = creates(ROOT, 10);
    EXPECT(10, 10);
    f->bytes = 500 * MIB;
    EXPECT(500, 500);
    f->bytes = 20 * MIB;
    EXPECT(20, 20);
    end();
}

static void is_closed(void) {
    start();
    file *f = creates(ROOT, 10);
    EXPECT(10, 10);
    /* What it got until it was closed is the job's. */
    f->bytes = 15 * MIB;
    closes(f);
    EXPECT(15, 15);
    f->bytes = 40 * MIB;
    EXPECT(40, 15);
    f->bytes = 5 * MIB;
    EXPECT(5, 5);
    /* It was created since the job began. */
    f->bytes = 50 * MIB;
    f->holders[0] = ROOT;
    EXPECT(50, 50);
    end();
}

static void is_removed(void) {
    start();
    file *f = creates(ROOT, 10);
    EXPECT(10, 10);
    unlinks(f);
    EXPECT(10, 10);
    f->bytes = 30 * MIB;
    EXPECT(30, 30);
    closes(f);
    f->bytes = 0;
    EXPECT(0, 0);
    /* Somebody stores as much. */
    disk.others = 30 * MIB;
    EXPECT(30, 0);
    end();
}

static void of_others(void) {
    start();
    disk.others = 400 * MIB;
    EXPECT(400, 0);
    creates(0, 50);
    EXPECT(450, 0);
    creates(ROOT, 10);
    EXPECT(460, 10);
    end();
}

static void older(void) {
    memset(&disk, 0, sizeof disk);
    begin(0);
    executes(born(ROOT, ADOPTER), "make");
    file *f = creates(ROOT, 100), *later = creates(0, 200);
    f->created = later->created = 0;
    begin_watch();
    tick();
    f->bytes = 130 * MIB;
    EXPECT(30, 30);
    /* The job opens another one. What that holds by then is not its own. */
    later->bytes = 220 * MIB;
    later->holders[0] = ROOT;
    EXPECT(50, 30);
    later->bytes = 230 * MIB;
    EXPECT(60, 40);
    closes(later);
    later->bytes = 300 * MIB;
    /* Until then it may have been open. */
    EXPECT(130, 110);
    later->bytes = 350 * MIB;
    EXPECT(180, 110);
    later->holders[0] = ROOT;
    later->bytes = 390 * MIB;
    EXPECT(220, 110);
    later->bytes = 400 * MIB;
    EXPECT(230, 120);
    /* Truncated and written anew. */
    f->bytes = 0;
    EXPECT(100, 90);
    f->bytes = 300 * MIB;
    EXPECT(400, 390);
    end();
}

static void several_holders(void) {
    start();
    process *child = born(101, ROOT);
    file *f = creates(101, 10);
    f->holders[1] = ROOT;
    EXPECT(10, 10);
    f->bytes = 20 * MIB;
    ends(child, 0);
    EXPECT(20, 20);
    f->bytes = 40 * MIB;
    EXPECT(40, 40);
    end();
}

/* Of many files the largest are known. */
static void many(void) {
    start();
    uint64_t sum = 0;
    for (uint64_t i = 1; i <= 40; i++) {
        sum += i * 2;
        creates(ROOT, i * 2);
    }
    uint64_t smallest = 8 * 9;
    EXPECT(sum, sum - smallest);
    for (size_t i = 0; i < disk.count; i++)
        closes(&disk.files[i]);
    EXPECT(sum, sum - smallest);
    creates(ROOT, 1);
    EXPECT(sum + 1, sum - smallest);
    creates(ROOT, 100);
    EXPECT(sum + 101, sum - smallest + 100 - 18);
    end();
}

/* Others remove what they had stored before. */
static void others_remove(void) {
    memset(&disk, 0, sizeof disk);
    disk.others = 100 * MIB;
    begin(0);
    executes(born(ROOT, ADOPTER), "make");
    begin_watch();
    tick();
    creates(ROOT, 60);
    EXPECT(60, 60);
    disk.others = 0;
    EXPECT(60, 60);
    disk.others = 50 * MIB;
    EXPECT(60, 60);
    creates(ROOT, 40);
    EXPECT(100, 100);
    end();
}

/* A file that is known is read without a search; so is nothing new. */
static void searches(void) {
    start();
    CHECK(disk.searches == 1);
    for (int i = 0; i < 9; i++)
        next();
    CHECK(disk.searches == 1);
    file *f = creates(ROOT, 10);
    EXPECT(10, 10);
    CHECK(disk.searches == 2);
    for (uint64_t i = 1; i < 10; i++) {
        f->bytes = 50 * i * MIB;
        EXPECT(50 * i, 50 * i);
    }
    CHECK(disk.searches == 2);
    /* Less than 1 part in 100 is not searched for. */
    disk.others = 4 * MIB;
    EXPECT(454, 450);
    CHECK(disk.searches == 2);
    disk.others = 8 * MIB;
    EXPECT(458, 450);
    EXPECT(458, 450);
    CHECK(disk.searches == 3);
    disk.others = 0;
    EXPECT(450, 450);
    disk.others = 8 * MIB;
    EXPECT(458, 450);
    CHECK(disk.searches == 4);
    end();
}

/* A search that takes too long goes on at later ticks, sooner near a limit. */
static void takes_turns(void) {
    enum { CHILDREN = 50, FIRST = 200 };
    for (int is_near = 0; is_near <= 1; is_near++) {
        start();
        for (int32_t i = 0; i < CHILDREN; i++)
            born(FIRST + i, ROOT);
        if (is_near)
            job.f.search.limit = 1;
        job.f.search.credit = (mw_credit){.from = world.now};
        world.now += 10 * MS;
        creates(FIRST + CHILDREN - 1, 10);
        int ticks = 0;
        for (; job.written < 10 * MIB; ticks++) {
            CHECK(ticks < 100);
            next();
        }
        /* 22 us for each; 100 us or a ms in each tick. */
        CHECK(is_near ? ticks <= 2 : ticks > 5 && ticks < 15);
        CHECK(disk.searches <= 2 + CHILDREN);
        next();
        CHECK(disk.searches <= 2 + CHILDREN);
        end();
    }
}

static void at_the_end(void) {
    start();
    file *f = creates(ROOT, 10);
    EXPECT(10, 10);
    f->bytes = 25 * MIB;
    ends(process_of(ROOT), 0);
    world.now += MS;
    tick_as(1);
    CHECK(job.written == 25 * MIB);
    end();
}

static void appends(file *f, uint64_t bytes, uint64_t *own) {
    f->bytes += bytes;
    *own += bytes;
}

/* What is certain is never more than what the job has written, whatever is
   created, opened, closed, truncated and removed. Others leave a file alone
   while the job has it open, and until the look after that. */
static void at_random(void) {
    enum { FILES = 40, STEPS = 20000, ACTIONS = 7 };
    uint64_t state = 1, own[FILES] = {0};
    int closed[FILES] = {0}, is_new[FILES];
    memset(&disk, 0, sizeof disk);
    begin(0);
    executes(born(ROOT, ADOPTER), "make");
    for (size_t i = 0; i < FILES; i++) {
        file *f = creates(0, below(&state, 50));
        is_new[i] = i % 2;
        f->created = is_new[i] ? f->created + 1000 * 1000 * MS : 0;
        if (is_new[i])
            f->bytes = 0;
    }
    begin_watch();
    tick();
    for (int step = 0; step < STEPS; step++) {
        size_t i = below(&state, FILES);
        file *f = &disk.files[i];
        uint64_t bytes = below(&state, 20) * MIB;
        switch (below(&state, ACTIONS)) {
        case 0:
            if (f->is_linked)
                f->holders[0] = ROOT;
            /* All of a new file counts. */
            if (is_new[i] && f->holders[0])
                own[i] = f->bytes;
            break;
        case 1:
            closed[i] |= f->holders[0] != 0;
            closes(f);
            break;
        case 2:
        case 3:
            if (f->holders[0])
                appends(f, bytes, &own[i]);
            break;
        case 4:
            if (!f->holders[0] && !closed[i] && f->is_linked)
                f->bytes += bytes;
            break;
        case 5: f->bytes = own[i] = 0; break;
        default:
            if (below(&state, 10) == 0)
                unlinks(f);
        }
        if (!f->is_linked && !f->holders[0])
            f->bytes = own[i] = 0;
        if (below(&state, 3))
            continue;
        next();
        memset(closed, 0, sizeof closed);
        uint64_t sum = 0;
        for (size_t k = 0; k < FILES; k++) {
            CHECK(own[k] <= disk.files[k].bytes);
            sum += own[k];
        }
        CHECK(job.written <= sum);
        CHECK(job.written <= job.stored);
        /* A file that is removed makes room for another. */
        for (size_t k = 0; k < FILES; k++)
            if (!disk.files[k].bytes && !disk.files[k].holders[0])
                disk.files[k].is_linked = 1;
    }
    end();
}

static const test_case CASES[] = {
    {"grows", grows},
    {"is-closed", is_closed},
    {"is-removed", is_removed},
    {"of-others", of_others},
    {"older", older},
    {"several-holders", several_holders},
    {"many", many},
    {"others-remove", others_remove},
    {"searches", searches},
    {"takes-turns", takes_turns},
    {"at-the-end", at_the_end},
    {"at-random", at_random},
};

int main(int argc, char **argv) {
    CHECK(argc == 2);
    FIND_CASE(CASES, argv[1])->run();
    return 0;
}
