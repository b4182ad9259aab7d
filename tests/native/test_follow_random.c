/*
 * follow.c on random histories: a few processes fork, execute, grow, end and
 * are waited for, in small steps that also happen between any two calls of the
 * follower. What was observed must be what happened.
 *
 *     test_follow_random FIRST-SEED RUNS
 */
#include "world.h"

enum {
    FIRST_PID = 101,
    PIDS = 9,
    MOST_FORKS = 14,
    MOST_EXECS = 4,
    STEPS = 90 /* between the start of the command and its end */
};

/* A pid is not reused so soon that start times could not tell the two apart. */
static const int64_t PID_REST = 60000000;

/* The longest time from what the kernel does to its event. */
static const int64_t LAG = 3000000;

static const uint32_t EVENTS = MW_CONNECTOR | MW_PERF;

enum phase {
    NEW, /* there, without the event of its fork */
    RUNNING,
    TRYING,    /* it is about to call execve, and the hook has reported that */
    EXECUTING, /* another program runs, but is not complete yet */
    EXECUTED,  /* complete, without the event of its exec */
    LEAVING,   /* on its way out: nothing can stop it */
    GOING,     /* recorded, but still there */
    DEAD,      /* without memory, and without the event of its end */
    DONE
};

typedef struct {
    enum phase phase;
    int was_killed;
    int64_t since; /* when this phase began */
    int passes;    /* the same */
    int has_threads;
    int first_ended;    /* before others */
    int64_t exit_event; /* when its end was said to be, by events */
    int64_t last;       /* by the hook */
    int64_t user;       /* of all its records */
    int events_lost;    /* events of it */
    int64_t forked;     /* when it was said to be; 0: not yet */
    uint64_t serial;    /* that it was reported by */
} fate;

static uint64_t seed;
static uint64_t random_state;
static fate fates[WORLD_SIZE];
static int busy;        /* things happen while the follower is at work */
static int lossy;       /* events are lost */
static int words;       /* makes each command line another */
static int with_status; /* events tell it */
static size_t forks_left;

static size_t pick(size_t limit) { return below(&random_state, limit); }

static int chance(size_t percent) { return pick(100) < percent; }

/* Shows what happened, and what was observed. */
static void show_all(void) {
    for (size_t i = 0; i < world.count; i++) {
        const process *p = &world.processes[i];
        show("%d<%d @%ld phase %d", p->pid, p->ppid, ms(p->start),
             (int)fates[i].phase);
        for (unsigned j = 0; j < p->count; j++)
            show(" %s%s@%ld=%llu", j ? "" : "^",
                 p->programs[j].text + 2 * strlen(p->programs[j].name) + 7,
                 ms(p->programs[j].since),
                 (unsigned long long)p->programs[j].peak);
        show(" -@%ld=%d\n", ms(p->end), p->status);
    }
    for (uint64_t serial = 1; serial <= job.count; serial++)
        show_process(serial);
}

#define HOLDS(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            show_all();                                                        \
            fprintf(stderr, "%sseed %llu sources %u busy %d lossy %d\n",       \
                    shown, (unsigned long long)seed, world.sources, busy,      \
                    lossy);                                                    \
            CHECK(condition);                                                  \
        }                                                                      \
    } while (0)

static fate *fate_of(const process *p) { return &fates[p - world.processes]; }

/* --- what happens --- */

static int has(uint32_t source) { return (world.sources & source) != 0; }

static int32_t free_pid(void) {
    int32_t pid = FIRST_PID + (int32_t)pick(PIDS);
    for (size_t i = 0; i < world.count; i++) {
        const process *p = &world.processes[i];
        if (p->pid == pid &&
            (p->life != MW_VANISHED || world.now - p->end < PID_REST))
            return 0;
    }
    return pid;
}

static void fork_one(const process *parent) {
    int32_t pid = free_pid();
    if (!pid || !forks_left)
        return;
    forks_left--;
    fates[world.count] = (fate){.phase = NEW, .since = world.now};
    born(pid, parent->pid);
}

static void try_exec(process *p) {
    if (p->count > MOST_EXECS || fate_of(p)->first_ended)
        return;
    if (has(MW_HOOK))
        emit_executing(p);
    fate_of(p)->phase = TRYING;
}

static void do_exec(process *p) {
    fate *of = fate_of(p);
    if (chance(15)) { /* no such program */
        of->phase = RUNNING;
        return;
    }
    unsigned poll_id = p->poll_id;
    char line[32];
    snprintf(line, sizeof line, "p%d x%d", words % 7, words);
    words++;
    executes(p, line);
    if (chance(20))
        p->poll_id = poll_id; /* a poll cannot tell */
    p->in_execve = 1;
    of->has_threads = 0;
    of->phase = EXECUTING;
}

static void end_thread(process *p) {
    fate_of(p)->user += 100;
    if (has(MW_TASKSTATS))
        emit_record(p, 100)->tid = 1000 + (int32_t)pick(1000);
}

static void end_first_thread(process *p, int status) {
    fate *of = fate_of(p);
    of->user += 5;
    if (has(MW_TASKSTATS))
        emit_record(p, 5)->status = status;
}

/* One of several ways to end. */
static void leave(process *p) {
    fate *of = fate_of(p);
    of->was_killed = of->was_killed || chance(15);
    p->status = of->was_killed ? 9 : (int)(pick(4) << 8);
    if (!of->was_killed && has(MW_HOOK)) {
        emit_exiting(p, p->status);
        of->last = world.now;
    }
    of->phase = LEAVING;
}

static void record(process *p) {
    fate *of = fate_of(p);
    if (of->first_ended)
        end_thread(p);
    else
        end_first_thread(p, p->status);
    p->rss = 0;
    of->phase = GOING;
}

static void emit_end(process *p) {
    fate *of = fate_of(p);
    if (has(EVENTS) && !of->first_ended) {
        emit_exit(p->pid, with_status ? p->status : -1);
        of->exit_event = world.now;
    }
    of->phase = DONE;
}

static void run_on(process *p) {
    fate *of = fate_of(p);
    switch (pick(10)) {
    case 0:
    case 1: fork_one(p); break;
    case 2:
    case 3: try_exec(p); break;
    case 4:
        if (p->pid != ROOT && chance(50))
            leave(p);
        break;
    case 5:
        of->has_threads = 1;
        if (!of->first_ended && chance(10)) {
            /* Alone until its next image, or its end. */
            of->first_ended = 1;
            end_first_thread(p, 0);
            if (has(EVENTS))
                emit_exit(p->pid, with_status ? 0 : -1);
        }
        break;
    case 6:
        if (of->has_threads)
            end_thread(p);
        break;
    case 7: is_charged(p, 1 + pick(1000)); break;
    default: holds(p, 1 + pick(1000)); break;
    }
}

static void emit_fork_of(const process *p) {
    fate *of = fate_of(p);
    if (has(EVENTS))
        emit_fork(p->pid, p->parent ? p->parent->pid : ADOPTER);
    of->forked = world.now;
    of->phase = RUNNING;
}

static void emit_exec_of(const process *p) {
    if (has(EVENTS))
        emit_exec(p->pid, with_status ? "" : runs(p)->name);
    fate_of(p)->phase = RUNNING;
}

/* Makes the smallest step that can happen to a process. */
static void advance(process *p) {
    fate *of = fate_of(p);
    of->passes = 0;
    of->since = world.now;
    switch (of->phase) {
    case NEW: emit_fork_of(p); break;
    case RUNNING: run_on(p); break;
    case TRYING: do_exec(p); break;
    case EXECUTING:
        p->in_execve = 0;
        of->phase = EXECUTED;
        break;
    case EXECUTED: emit_exec_of(p); break;
    case LEAVING: record(p); break;
    case GOING:
        ends(p, p->status);
        of->phase = DEAD;
        break;
    case DEAD: emit_end(p); break;
    default: break;
    }
}

/* Completes what the kernel does soon, with its event. */
static void do_what_is_due(int passes) {
    for (size_t i = 0; i < world.count; i++) {
        fate *of = &fates[i];
        of->passes += passes;
        if (of->phase != RUNNING && of->phase != TRYING && of->phase != DONE &&
            (of->passes > 1 || world.now - of->since > LAG))
            advance(&world.processes[i]);
    }
}

static void step(void) {
    world.now += MS / 20 + (int64_t)pick(MS);
    do_what_is_due(0);
    process *p = &world.processes[pick(world.count)];
    advance(p);
    /* The parent may wait for it before all events have come. */
    if (p->life == MW_ENDED && p->ppid != ADOPTER && chance(50))
        vanishes(p);
}

static void steps_meanwhile(void) {
    while (chance(20))
        step();
}

/* --- what must be so --- */

static process *find_process(const seen_process *seen) {
    process *best = NULL;
    for (size_t i = 0; i < world.count; i++) {
        process *p = &world.processes[i];
        if (p->pid != seen->pid)
            continue;
        if (seen->valid & MW_HAS_START) {
            if (seen->start == fate_of(p)->forked ||
                seen->start == p->start / CLOCK_TICK * CLOCK_TICK)
                return p;
        } else if (p->start <= seen->found) {
            best = p; /* the last one before */
        }
    }
    return best;
}

/* Finds the program of an image by its command line, which no two share. It may
   be a later one than was reported, read while that was being executed. */
static int find_program(const process *p, const seen_image *image, int from) {
    for (unsigned i = (unsigned)from; i < p->count; i++) {
        const program *one = &p->programs[i];
        if (image->valid & MW_HAS_ARGV
                ? one->length == image->length &&
                      !memcmp(one->text, image->text, one->length)
                : !image->text[0] || !strcmp(one->name, image->text))
            return (int)i;
    }
    return -1;
}

static uint64_t peak_of(const process *p, int which) {
    return (unsigned)which + 1 == p->count && p->life == MW_ALIVE
               ? p->watermark
               : p->programs[which].peak;
}

static void check_images(const process *p, const seen_process *seen) {
    int at = 0;
    HOLDS(seen->count >= 1 && seen->count <= p->count);
    for (size_t i = 0; i < seen->count; i++) {
        const seen_image *image = &seen->images[i];
        /* Two execs during a reading can be reported in any order. */
        at = find_program(p, image, busy ? 0 : at);
        HOLDS(at >= 0);
        if (image->valid & MW_HAS_ARGV) {
            HOLDS(!(image->valid & MW_INHERITED) == (at > 0));
            int is_last = i + 1 == seen->count;
            int is_last_program = (unsigned)at + 1 == p->count;
            int is_early = !is_last && find_program(p, image + 1, at) == at;
            if (image->source == EXACT && !is_early &&
                (!is_last || is_last_program)) {
                /* Readings without events may take one image's memory for
                   another's. */
                HOLDS(image->peak >= peak_of(p, at) || lossy);
                HOLDS(image->peak == peak_of(p, at) || !has(EVENTS) || busy ||
                      lossy);
            }
        }
    }
}

static void check_end(const process *p, const seen_process *seen) {
    const fate *of = fate_of(p);
    const seen_image *last = &seen->images[seen->count - 1];
    if (!seen->exited) {
        /* Without events the last tick may be an earlier one. */
        HOLDS(p->life == MW_ALIVE || of->phase == DEAD ||
              (busy && !world.sources));
        return;
    }
    HOLDS(of->phase >= LEAVING);
    /* The end of the first thread is taken for that of the process if both come
       at once. */
    if (seen->end_valid & MW_HAS_STATUS && !of->first_ended)
        HOLDS(seen->status == p->status);
    if (seen->end_valid & MW_BY_EVENT && !of->first_ended)
        HOLDS(seen->end == of->exit_event || seen->end == of->last);
    if (seen->sums & MW_HAS_CPU && has(MW_TASKSTATS) && !has(MW_HOOK))
        HOLDS((int64_t)seen->user <= of->user);
    /* A zombie's footprint is that of its last program; a reading may have
       taken it for the program before, which had more. */
    if (last->footprint_source == EXACT)
        HOLDS(last->footprint_peak == p->footprint_peak);
    if (last->source == EXACT && !of->first_ended)
        HOLDS(last->peak >= peak_of(p, (int)p->count - 1));
}

/* Nothing was lost: all must be known. */
static void check_known(const process *p, const seen_process *seen) {
    const fate *of = fate_of(p);
    if (has(EVENTS) && of->forked) {
        HOLDS(seen->start == of->forked);
        if (p->parent)
            HOLDS(seen->valid & MW_HAS_PARENT &&
                  seen->parent == fate_of(p->parent)->serial);
    }
    if (of->phase != DONE)
        return;
    HOLDS(seen->exited);
    if (has(EVENTS) && !of->first_ended)
        HOLDS(seen->end_valid & MW_BY_EVENT);
    if (has(EVENTS) && with_status && !of->first_ended)
        HOLDS(seen->end_valid & MW_HAS_STATUS);
    const seen_image *last = &seen->images[seen->count - 1];
    if (has(MW_TASKSTATS) || (of->last && !of->first_ended))
        HOLDS(last->source == EXACT);
    if (world.sources == (MW_CONNECTOR | MW_TASKSTATS) && !of->first_ended &&
        !busy)
        HOLDS((int64_t)seen->user == of->user);
    if (of->last && !of->first_ended)
        for (size_t i = 0; i < seen->count; i++)
            HOLDS(seen->images[i].valid & MW_HAS_ARGV);
    if (has(EVENTS) && !busy)
        HOLDS(seen->count - (seen->images[0].valid & MW_INHERITED ? 1 : 0) ==
              p->count - 1);
}

static void check_all(void) {
    for (uint64_t serial = 1; serial <= job.count; serial++) {
        process *p = find_process(&job.seen[serial]);
        HOLDS(p);
        HOLDS(!fate_of(p)->serial); /* no process is reported twice */
        fate_of(p)->serial = serial;
    }
    for (size_t i = 0; i < world.count; i++) {
        const process *p = &world.processes[i];
        const fate *of = &fates[i];
        int must_be_known = !lossy && (has(EVENTS)         ? of->forked
                                       : has(MW_TASKSTATS) ? of->phase == DONE
                                                           : of->last);
        HOLDS(of->serial || !must_be_known);
        if (!of->serial)
            continue;
        const seen_process *seen = &job.seen[of->serial];
        if (seen->valid & MW_HAS_PARENT)
            HOLDS(p->parent && fate_of(p->parent)->serial == seen->parent);
        check_images(p, seen);
        check_end(p, seen);
        if (!lossy)
            check_known(p, seen);
    }
}

/* --- a run --- */

static void lose_some(void) {
    if (!lossy || !chance(10))
        return;
    /* Events of the hook come another way. */
    size_t kept = 0;
    for (size_t i = 0; i < world.events.count; i++)
        if (world.events.items[i].kind >= MW_EVENT_RECORD)
            world.events.items[kept++] = world.events.items[i];
    world.events.count = kept;
    world.lost = 3;
}

static void follow(void) {
    do_what_is_due(1);
    world.now += MS / 10;
    if (chance(30)) {
        lose_some();
        handle_events();
    } else {
        lose_some();
        tick();
    }
}

static void run(uint64_t number) {
    static const uint32_t SOURCES[] = {
        MW_CONNECTOR,           MW_CONNECTOR | MW_TASKSTATS,
        MW_CONNECTOR | MW_HOOK, MW_PERF,
        MW_PERF | MW_HOOK,      MW_CONNECTOR | MW_TASKSTATS | MW_HOOK,
        MW_TASKSTATS,           MW_HOOK,
        MW_TASKSTATS | MW_HOOK, 0,
    };
    seed = number;
    random_state = 88172645463325252u ^ (number * 0x9e3779b97f4a7c15u);
    next_random(&random_state);
    memset(fates, 0, sizeof fates);
    begin(SOURCES[pick(sizeof SOURCES / sizeof *SOURCES)]);
    busy = chance(50);
    lossy = has(EVENTS) && chance(25);
    with_status = has(MW_CONNECTOR);
    world.footprints = chance(30);
    words = 0;
    forks_left = 2 + pick(MOST_FORKS);
    world.cover_forks = has(EVENTS) && chance(70);
    if (busy)
        world.meanwhile = steps_meanwhile;

    process *root = born(ROOT, ADOPTER);
    if (has(EVENTS))
        emit_fork(ROOT, ADOPTER);
    fates[0] = (fate){.phase = RUNNING, .forked = world.now};
    world.now += MS;
    executes(root, "root");
    if (has(EVENTS))
        emit_exec(ROOT, "root");
    tick();

    size_t between = 1 + pick(12);
    for (int i = 0; i < STEPS; i++) {
        step();
        if (!pick(between))
            follow();
    }
    while (fates[0].phase != DONE) {
        if (fates[0].phase == RUNNING)
            leave(root);
        else
            step();
        if (!pick(between) && fates[0].phase < LEAVING)
            follow();
    }
    world.meanwhile = NULL;
    world.now += MS;
    if (!job.in->complete)
        tick_as(1);
    HOLDS(job.in->complete);
    check_all();
    end();
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    uint64_t first = strtoull(argv[1], NULL, 10);
    uint64_t runs = strtoull(argv[2], NULL, 10);
    for (uint64_t i = 0; i < runs; i++)
        run(first + i);
    return 0;
}
