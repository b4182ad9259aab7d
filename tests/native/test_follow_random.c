/*
 * follow.c against histories made up at random: a few processes fork, execute,
 * grow, end and are waited for, in small steps that also happen between any two
 * things that the follower does. What was observed must be what happened.
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

/* A pid is not used again so soon that start times could not tell. */
static const int64_t PID_REST = 60000000;

/* By so much at most the kernel does a thing before it says so. */
static const int64_t LAG = 3000000;

static const uint32_t EVENTS = MW_CONNECTOR | MW_PERF;

enum phase {
    NEW, /* there, but not said to have been forked */
    RUNNING,
    TRYING,    /* has said that it is about to execute */
    EXECUTING, /* another program, but not yet complete */
    EXECUTED,  /* complete, but not said */
    LEAVING,   /* on its way out: nothing can hold it up */
    GOING,     /* recorded, but still there */
    DEAD,      /* without memory, but not said to have ended */
    DONE
};

typedef struct {
    enum phase phase;
    int was_killed;
    int64_t since; /* in this phase */
    int passes;    /* the same */
    int has_threads;
    int first_ended; /* before others */
    int64_t said;    /* when its end was said to be, by events */
    int64_t last;    /* by the hook */
    int64_t user;    /* of all its records */
    int words_lost;  /* events of it */
    int64_t forked;  /* when it was said to be; 0: not yet */
    uint64_t serial; /* that it was reported by */
} fate;

static uint64_t seed;
static uint64_t random_state;
static fate fates[MOST_PEOPLE];
static int busy;        /* things happen while the follower is at work */
static int lossy;       /* events are lost */
static int words;       /* makes each command line another */
static int with_status; /* events tell it */
static size_t forks_left;

static size_t pick(size_t limit) { return below(&random_state, limit); }

static int chance(size_t percent) { return pick(100) < percent; }

/* What it was, and what was observed. */
static void show_all(void) {
    for (size_t i = 0; i < world.count; i++) {
        const person *who = &world.people[i];
        show("%d<%d @%ld phase %d", who->pid, who->ppid, ms(who->start),
             (int)fates[i].phase);
        for (unsigned j = 0; j < who->count; j++)
            show(" %s%s@%ld=%llu", j ? "" : "^",
                 who->programs[j].text + 2 * strlen(who->programs[j].name) + 7,
                 ms(who->programs[j].since),
                 (unsigned long long)who->programs[j].peak);
        show(" -@%ld=%d\n", ms(who->end), who->status);
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

static fate *fate_of(const person *who) { return &fates[who - world.people]; }

/* --- what happens --- */

static int has(uint32_t source) { return (world.sources & source) != 0; }

static int32_t free_pid(void) {
    int32_t pid = FIRST_PID + (int32_t)pick(PIDS);
    for (size_t i = 0; i < world.count; i++) {
        const person *who = &world.people[i];
        if (who->pid == pid &&
            (who->life != MW_VANISHED || world.now - who->end < PID_REST))
            return 0;
    }
    return pid;
}

static void fork_one(const person *parent) {
    int32_t pid = free_pid();
    if (!pid || !forks_left)
        return;
    forks_left--;
    fates[world.count] = (fate){.phase = NEW, .since = world.now};
    born(pid, parent->pid);
}

static void try_exec(person *who) {
    if (who->count > MOST_EXECS || fate_of(who)->first_ended)
        return;
    if (has(MW_HOOK))
        say_executing(who);
    fate_of(who)->phase = TRYING;
}

static void do_exec(person *who) {
    fate *of = fate_of(who);
    if (chance(15)) { /* no such program */
        of->phase = RUNNING;
        return;
    }
    unsigned mark = who->mark;
    char line[32];
    snprintf(line, sizeof line, "p%d x%d", words % 7, words);
    words++;
    executes(who, line);
    if (chance(20))
        who->mark = mark; /* a poll cannot tell */
    who->in_execve = 1;
    of->has_threads = 0;
    of->phase = EXECUTING;
}

static void say_end_of_thread(person *who) {
    fate_of(who)->user += 100;
    if (has(MW_TASKSTATS))
        say_record(who, 100)->tid = 1000 + (int32_t)pick(1000);
}

static void say_end_of_first(person *who, int status) {
    fate *of = fate_of(who);
    of->user += 5;
    if (has(MW_TASKSTATS))
        say_record(who, 5)->status = status;
}

/* One of several ways to end. */
static void leave(person *who) {
    fate *of = fate_of(who);
    of->was_killed = of->was_killed || chance(15);
    who->status = of->was_killed ? 9 : (int)(pick(4) << 8);
    if (!of->was_killed && has(MW_HOOK)) {
        say_last(who, who->status);
        of->last = world.now;
    }
    of->phase = LEAVING;
}

static void record(person *who) {
    fate *of = fate_of(who);
    if (of->first_ended)
        say_end_of_thread(who);
    else
        say_end_of_first(who, who->status);
    who->rss = 0;
    of->phase = GOING;
}

static void say_end(person *who) {
    fate *of = fate_of(who);
    if (has(EVENTS) && !of->first_ended) {
        say_exit(who->pid, with_status ? who->status : -1);
        of->said = world.now;
    }
    of->phase = DONE;
}

static void run_on(person *who) {
    fate *of = fate_of(who);
    switch (pick(10)) {
    case 0:
    case 1: fork_one(who); break;
    case 2:
    case 3: try_exec(who); break;
    case 4:
        if (who->pid != ROOT && chance(50))
            leave(who);
        break;
    case 5:
        of->has_threads = 1;
        if (!of->first_ended && chance(10)) {
            /* Alone until its next image, or its end. */
            of->first_ended = 1;
            say_end_of_first(who, 0);
            if (has(EVENTS))
                say_exit(who->pid, with_status ? 0 : -1);
        }
        break;
    case 6:
        if (of->has_threads)
            say_end_of_thread(who);
        break;
    case 7: is_charged(who, 1 + pick(1000)); break;
    default: holds(who, 1 + pick(1000)); break;
    }
}

static void say_fork_of(const person *who) {
    fate *of = fate_of(who);
    if (has(EVENTS))
        say_fork(who->pid, who->parent ? who->parent->pid : ADOPTER);
    of->forked = world.now;
    of->phase = RUNNING;
}

static void say_exec_of(const person *who) {
    if (has(EVENTS))
        say_exec(who->pid, with_status ? "" : runs(who)->name);
    fate_of(who)->phase = RUNNING;
}

/* The smallest thing that can happen. */
static void advance(person *who) {
    fate *of = fate_of(who);
    of->passes = 0;
    of->since = world.now;
    switch (of->phase) {
    case NEW: say_fork_of(who); break;
    case RUNNING: run_on(who); break;
    case TRYING: do_exec(who); break;
    case EXECUTING:
        who->in_execve = 0;
        of->phase = EXECUTED;
        break;
    case EXECUTED: say_exec_of(who); break;
    case LEAVING: record(who); break;
    case GOING:
        ends(who, who->status);
        of->phase = DEAD;
        break;
    case DEAD: say_end(who); break;
    default: break;
    }
}

/* The kernel does all of a thing soon, and says so. */
static void say_what_is_due(int passes) {
    for (size_t i = 0; i < world.count; i++) {
        fate *of = &fates[i];
        of->passes += passes;
        if (of->phase != RUNNING && of->phase != TRYING && of->phase != DONE &&
            (of->passes > 1 || world.now - of->since > LAG))
            advance(&world.people[i]);
    }
}

static void step(void) {
    world.now += MS / 20 + (int64_t)pick(MS);
    say_what_is_due(0);
    person *who = &world.people[pick(world.count)];
    advance(who);
    /* The parent waits for it, be it before the kernel has said all. */
    if (who->life == MW_ENDED && who->ppid != ADOPTER && chance(50))
        vanishes(who);
}

static void steps_meanwhile(void) {
    while (chance(20))
        step();
}

/* --- what must be so --- */

static person *find_person(const told_process *told) {
    person *best = NULL;
    for (size_t i = 0; i < world.count; i++) {
        person *who = &world.people[i];
        if (who->pid != told->pid)
            continue;
        if (told->valid & MW_HAS_START) {
            if (told->start == fate_of(who)->forked ||
                told->start == who->start / CLOCK_TICK * CLOCK_TICK)
                return who;
        } else if (who->start <= told->found) {
            best = who; /* the last one before */
        }
    }
    return best;
}

/* The program that an image is of, by its command line, which no two share. It
   may be a later one than was said: read when that was being executed. */
static int find_program(const person *who, const told_image *image, int from) {
    for (unsigned i = (unsigned)from; i < who->count; i++) {
        const program *one = &who->programs[i];
        if (image->valid & MW_HAS_ARGV
                ? one->length == image->length &&
                      !memcmp(one->text, image->text, one->length)
                : !image->text[0] || !strcmp(one->name, image->text))
            return (int)i;
    }
    return -1;
}

static uint64_t peak_of(const person *who, int which) {
    return (unsigned)which + 1 == who->count && who->life == MW_ALIVE
               ? who->watermark
               : who->programs[which].peak;
}

static void check_images(const person *who, const told_process *told) {
    int at = 0;
    HOLDS(told->count >= 1 && told->count <= who->count);
    for (size_t i = 0; i < told->count; i++) {
        const told_image *image = &told->images[i];
        /* What two execs during a look have left behind can be in any order. */
        at = find_program(who, image, busy ? 0 : at);
        HOLDS(at >= 0);
        if (image->valid & MW_HAS_ARGV) {
            HOLDS(!(image->valid & MW_INHERITED) == (at > 0));
            int is_last = i + 1 == told->count;
            int is_last_program = (unsigned)at + 1 == who->count;
            int is_early = !is_last && find_program(who, image + 1, at) == at;
            if (image->source == EXACT && !is_early &&
                (!is_last || is_last_program)) {
                /* Looks alone may take one image's memory for another's. */
                HOLDS(image->peak >= peak_of(who, at) || lossy);
                HOLDS(image->peak == peak_of(who, at) || !has(EVENTS) || busy ||
                      lossy);
            }
        }
    }
}

static void check_end(const person *who, const told_process *told) {
    const fate *of = fate_of(who);
    const told_image *last = &told->images[told->count - 1];
    if (!told->exited) {
        /* Without news the last pass may be any. */
        HOLDS(who->life == MW_ALIVE || of->phase == DEAD ||
              (busy && !world.sources));
        return;
    }
    HOLDS(of->phase >= LEAVING);
    /* The first thread's end is taken for the process's if both come at once.
     */
    if (told->end_valid & MW_HAS_STATUS && !of->first_ended)
        HOLDS(told->status == who->status);
    if (told->end_valid & MW_BY_EVENT && !of->first_ended)
        HOLDS(told->end == of->said || told->end == of->last);
    if (told->sums & MW_HAS_CPU && has(MW_TASKSTATS) && !has(MW_HOOK))
        HOLDS((int64_t)told->user <= of->user);
    /* A zombie's is that of its last program; a look may have taken it for the
       program before, and that for more. */
    if (last->footprint_source == EXACT)
        HOLDS(last->footprint_peak == who->footprint_peak);
    if (last->source == EXACT && !of->first_ended)
        HOLDS(last->peak >= peak_of(who, (int)who->count - 1));
}

/* Nothing happened while the follower looked away, and nothing was lost: all is
   known. */
static void check_known(const person *who, const told_process *told) {
    const fate *of = fate_of(who);
    if (has(EVENTS) && of->forked) {
        HOLDS(told->start == of->forked);
        if (who->parent)
            HOLDS(told->valid & MW_HAS_PARENT &&
                  told->parent == fate_of(who->parent)->serial);
    }
    if (of->phase != DONE)
        return;
    HOLDS(told->exited);
    if (has(EVENTS) && !of->first_ended)
        HOLDS(told->end_valid & MW_BY_EVENT);
    if (has(EVENTS) && with_status && !of->first_ended)
        HOLDS(told->end_valid & MW_HAS_STATUS);
    const told_image *last = &told->images[told->count - 1];
    if (has(MW_TASKSTATS) || (of->last && !of->first_ended))
        HOLDS(last->source == EXACT);
    if (world.sources == (MW_CONNECTOR | MW_TASKSTATS) && !of->first_ended &&
        !busy)
        HOLDS((int64_t)told->user == of->user);
    if (of->last && !of->first_ended)
        for (size_t i = 0; i < told->count; i++)
            HOLDS(told->images[i].valid & MW_HAS_ARGV);
    if (has(EVENTS) && !busy)
        HOLDS(told->count - (told->images[0].valid & MW_INHERITED ? 1 : 0) ==
              who->count - 1);
}

static void check_all(void) {
    for (uint64_t serial = 1; serial <= job.count; serial++) {
        person *who = find_person(&job.told[serial]);
        HOLDS(who);
        HOLDS(!fate_of(who)->serial); /* no process twice */
        fate_of(who)->serial = serial;
    }
    for (size_t i = 0; i < world.count; i++) {
        const person *who = &world.people[i];
        const fate *of = &fates[i];
        int must_be_known = !lossy && (has(EVENTS)         ? of->forked
                                       : has(MW_TASKSTATS) ? of->phase == DONE
                                                           : of->last);
        HOLDS(of->serial || !must_be_known);
        if (!of->serial)
            continue;
        const told_process *told = &job.told[of->serial];
        if (told->valid & MW_HAS_PARENT)
            HOLDS(who->parent && fate_of(who->parent)->serial == told->parent);
        check_images(who, told);
        check_end(who, told);
        if (!lossy)
            check_known(who, told);
    }
}

/* --- a run --- */

static void lose_some(void) {
    if (!lossy || !chance(10))
        return;
    /* Those of the hook come another way. */
    size_t kept = 0;
    for (size_t i = 0; i < world.events.count; i++)
        if (world.events.items[i].kind >= MW_NEWS_RECORD)
            world.events.items[kept++] = world.events.items[i];
    world.events.count = kept;
    world.lost = 3;
}

static void follow(void) {
    say_what_is_due(1);
    world.now += MS / 10;
    if (chance(30)) {
        lose_some();
        hear_news();
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
    world.tell_forks = has(EVENTS) && chance(70);
    if (busy)
        world.meanwhile = steps_meanwhile;

    person *root = born(ROOT, ADOPTER);
    if (has(EVENTS))
        say_fork(ROOT, ADOPTER);
    fates[0] = (fate){.phase = RUNNING, .forked = world.now};
    world.now += MS;
    executes(root, "root");
    if (has(EVENTS))
        say_exec(ROOT, "root");
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
