/*
 * pss_sweep.c and pss_sum.c on random histories of processes that share pages:
 * between and during the sweeps they fork, write, map, unmap, free, execute
 * programs and end. No sum may be above what all of them held at one moment of
 * its sweep, whether readings were kept from earlier sweeps or not.
 *
 *     test_pss_random FIRST_SEED COUNT
 */
#include <errno.h>

#include "check.h"
#include "pss_sweep.h"

enum {
    PROCESSES = 10,
    BLOCKS = 96, /* of anonymous pages */
    FILES = 6,   /* blocks of files */
    SWEEPS = 30,
    FIRST_PID = 100,
};

/* Pages come in blocks, so that every change is more than a sum tolerates. One
   page fault brings 16 pages of a file, one page of other memory, or 2 MiB. */
static const uint64_t BLOCK = 8 << 20;
static const uint64_t PAGE = 4096;
static const uint64_t HUGE_PAGE = 2 << 20;

typedef struct {
    int lives;
    int is_known;  /* to the job's table */
    int is_listed; /* for the sweep that is made: its pid is not used again */
    int inherited;
    uint64_t serial;
    uint64_t faults;
    int holds[BLOCKS]; /* anonymous blocks that are resident here */
    int swapped[BLOCKS];
    int maps[FILES];
} process;

static struct {
    process processes[PROCESSES];
    uint64_t serials;
    size_t in_tmpfs; /* how many of the files, the first ones, are */
    uint64_t random;
    size_t ops_left;      /* in this sweep */
    uint64_t most;        /* the most that was held at once in this sweep */
    uint64_t most_needed; /* the same without files, and with swap */
    long reads;
} world;

struct mw_platform {
    char nothing;
};

static size_t pick(size_t limit) { return below(&world.random, limit); }

static size_t holders(size_t block) {
    size_t count = 0;
    for (size_t i = 0; i < PROCESSES; i++)
        count += (size_t)world.processes[i].holds[block];
    return count;
}

static size_t in_swap(size_t block) {
    size_t count = 0;
    for (size_t i = 0; i < PROCESSES; i++)
        count += (size_t)world.processes[i].swapped[block];
    return count;
}

static size_t mappers(size_t file) {
    size_t count = 0;
    for (size_t i = 0; i < PROCESSES; i++)
        count += (size_t)world.processes[i].maps[file];
    return count;
}

/* Notes what is held now. */
static void look(void) {
    uint64_t held = 0, files = 0, swapped = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        held += holders(i) ? BLOCK : 0;
        swapped += in_swap(i) ? BLOCK : 0;
    }
    for (size_t i = 0; i < FILES; i++) {
        held += mappers(i) ? BLOCK : 0;
        files += i >= world.in_tmpfs && mappers(i) ? BLOCK : 0;
    }
    if (held > world.most)
        world.most = held;
    if (held - files + swapped > world.most_needed)
        world.most_needed = held - files + swapped;
}

/* --- what processes do --- */

static void write_new(process *p, int huge) {
    for (size_t i = 0; i < BLOCKS; i++) {
        if (holders(i) || in_swap(i))
            continue;
        p->holds[i] = 1;
        p->faults += BLOCK / (huge ? HUGE_PAGE : PAGE);
        return;
    }
}

/* Returns a block for which a flag is set, from a random one on, or `count`. */
static size_t any(const int *flags, size_t count) {
    size_t first = pick(count);
    for (size_t i = 0; i < count; i++)
        if (flags[(first + i) % count])
            return (first + i) % count;
    return count;
}

static void copy(process *p) {
    size_t block = any(p->holds, BLOCKS);
    if (block == BLOCKS || holders(block) < 2)
        return;
    p->holds[block] = 0;
    write_new(p, 0);
}

static void give_back(process *p) {
    size_t block = any(p->holds, BLOCKS);
    if (block < BLOCKS)
        p->holds[block] = 0;
}

static void map(process *p) {
    size_t file = pick(FILES);
    if (!p->maps[file])
        p->faults += BLOCK / PAGE / 16;
    p->maps[file] = 1;
}

static void unmap(process *p) {
    size_t file = any(p->maps, FILES);
    if (file < FILES)
        p->maps[file] = 0;
}

static process *newcomer(void) {
    for (size_t i = 0; i < PROCESSES; i++) {
        process *p = &world.processes[i];
        if (p->lives || p->is_listed)
            continue;
        *p = (process){.lives = 1, .serial = ++world.serials, .faults = 100};
        return p;
    }
    return NULL;
}

static void fork_one(const process *parent) {
    process *child = newcomer();
    if (!child)
        return;
    child->inherited = 1;
    for (size_t i = 0; i < BLOCKS; i++) {
        child->holds[i] = parent->holds[i];
        child->swapped[i] = parent->swapped[i];
    }
}

static void drop(process *p) {
    for (size_t i = 0; i < BLOCKS; i++)
        p->holds[i] = p->swapped[i] = 0;
    for (size_t i = 0; i < FILES; i++)
        p->maps[i] = 0;
}

static void execute(process *p) {
    drop(p);
    p->inherited = 0;
    p->faults += 80;
    map(p);
    write_new(p, 0);
}

static void end(process *p) {
    drop(p);
    p->lives = 0;
}

/* Whoever holds it loses it. */
static void swap_out(process *p) {
    size_t block = any(p->holds, BLOCKS);
    for (size_t i = 0; block < BLOCKS && i < PROCESSES; i++) {
        process *each = &world.processes[i];
        each->swapped[block] |= each->holds[block];
        each->holds[block] = 0;
    }
}

static void swap_in(process *p) {
    size_t block = any(p->swapped, BLOCKS);
    if (block == BLOCKS)
        return;
    p->swapped[block] = 0;
    p->holds[block] = 1;
    p->faults += BLOCK / PAGE;
}

/* Lets a process do something. Nothing moves in or out of swap during a
   sweep: what is there has no other account than the reading. */
static void act(int in_sweep) {
    process *p = &world.processes[pick(PROCESSES)];
    if (!p->lives)
        return;
    switch (pick(in_sweep ? 16 : 18)) {
    case 0:
    case 1: fork_one(p); break;
    case 2:
        if (!in_sweep || any(p->swapped, BLOCKS) == BLOCKS)
            execute(p);
        break;
    case 3: end(p); break;
    case 4: give_back(p); break;
    case 5:
    case 6: copy(p); break;
    case 7:
    case 8: map(p); break;
    case 9: unmap(p); break;
    case 10: write_new(p, 1); break;
    case 16: swap_out(p); break;
    case 17: swap_in(p); break;
    default: write_new(p, 0);
    }
    look();
}

/* --- the platform --- */

int64_t mw_now(void) { return 0; }

/* Something may happen before each reading. */
static process *meanwhile(int32_t pid) {
    while (world.ops_left && !pick(4)) {
        act(1);
        world.ops_left--;
    }
    process *p = &world.processes[pid - FIRST_PID];
    return p->lives ? p : NULL;
}

int mw_platform_memory(const mw_platform *platform, int32_t pid,
                       mw_memory *out) {
    const process *p = meanwhile(pid);
    (void)platform;
    *out = (mw_memory){0};
    if (!p)
        return -ESRCH;
    for (size_t i = 0; i < FILES; i++)
        out->shared += p->maps[i] ? BLOCK : 0;
    out->rss = out->shared;
    for (size_t i = 0; i < BLOCKS; i++)
        out->rss += p->holds[i] ? BLOCK : 0;
    out->faults = p->faults;
    return 0;
}

int mw_platform_pss(const mw_platform *platform, int32_t pid, mw_shares *out) {
    const process *p = meanwhile(pid);
    (void)platform;
    world.reads++;
    *out = (mw_shares){0};
    if (!p)
        return -ESRCH;
    for (size_t i = 0; i < BLOCKS; i++) {
        out->anonymous += p->holds[i] ? BLOCK / holders(i) : 0;
        out->swapped += p->swapped[i] ? BLOCK / in_swap(i) : 0;
    }
    out->pss = out->anonymous;
    for (size_t i = 0; i < FILES; i++) {
        uint64_t part = p->maps[i] ? BLOCK / mappers(i) : 0;
        out->pss += part;
        out->shmem += i < world.in_tmpfs ? part : 0;
    }
    return 0;
}

int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other) {
    (void)platform;
    (void)pid;
    (void)other;
    return 0;
}

/* --- sweeps --- */

static bool never(void *context) { return context != NULL; }

/* Lists the living; now and then a new one is not known yet. Returns whether
   all are listed. */
static int list(mw_table *table, int all) {
    int complete = 1;
    mw_table_free(table);
    for (size_t i = 0; i < PROCESSES; i++) {
        process *p = &world.processes[i];
        mw_slot *slot;
        p->is_listed = 0;
        if (!p->lives || (!p->is_known && !all && !pick(4))) {
            complete &= !p->lives;
            continue;
        }
        p->is_known = p->is_listed = 1;
        CHECK(!mw_table_add(table, FIRST_PID + (int32_t)i, &slot));
        slot->serial = p->serial;
        slot->inherited = (uint8_t)p->inherited;
        slot->ppid = FIRST_PID;
        slot->rss = (BLOCKS + FILES) * BLOCK; /* so that it cuts no sum */
    }
    return complete;
}

/* Makes sweeps. Returns how many readings were not made because they were
   kept. With `calm`, nothing happens during a sweep, and then a sum in which
   nothing is missing is exact. */
static long history(uint64_t seed, int calm) {
    mw_platform platform = {0};
    mw_sweep sweep = mw_sweep_new();
    mw_table table = {0};
    long kept = 0;
    memset(&world, 0, sizeof world);
    world.random = seed * 0x9e3779b97f4a7c15u + 1;
    world.in_tmpfs = seed % 2 ? FILES : FILES / 2;
    execute(newcomer());
    for (int i = 0; i < SWEEPS; i++) {
        world.ops_left = 0;
        for (size_t ops = pick(2) * pick(8); ops; ops--)
            act(0);
        int complete = list(&table, calm);
        if (!table.count)
            break;
        world.ops_left = calm ? 0 : pick(2) * pick(8);
        world.most = world.most_needed = 0;
        look();
        long before = world.reads;
        CHECK(!mw_sweep_begin(&sweep, &table, 0, MW_NO_BOUND, MW_NO_BOUND, 1));
        mw_sweep_run(&sweep, &platform, never, NULL);
        for (size_t k = 0; k < PROCESSES; k++)
            world.processes[k].is_listed = 0;
        kept += (long)table.count - (world.reads - before);
        CHECK(sweep.sum <= world.most + BLOCK / 4);
        /* A file that takes the place of one in a tmpfs is not noticed. */
        if (world.in_tmpfs == FILES)
            CHECK(sweep.footprint <= world.most_needed + BLOCK / 4);
        if (calm && complete && !sweep.is_low)
            CHECK(sweep.sum + BLOCK / 4 >= world.most);
    }
    mw_table_free(&table);
    mw_sweep_free(&sweep);
    return kept;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    uint64_t first = strtoull(argv[1], NULL, 10);
    uint64_t count = strtoull(argv[2], NULL, 10);
    long kept = 0;
    for (uint64_t seed = first; seed < first + count; seed++)
        for (int calm = 0; calm < 2; calm++)
            kept += history(seed, calm);
    printf("%ld readings kept\n", kept);
    CHECK(kept > (long)count);
    return 0;
}
