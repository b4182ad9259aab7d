/*
 * follow.c in a world made up here: what is seen and what is told come in every
 * order in which they may come, and each process is reported once and as it
 * was.
 *
 *     test_follow CASE
 *
 * What was observed is compared as text, as world.h has it, a line for each
 * process but the first.
 */
#include "world.h"

static const uint32_t EVENTS = MW_CONNECTOR;

/* Longer than the follower waits for word of an end. */
enum { PATIENT = 4 };

/* --- as text --- */

static void expect_at(int line, const char *wanted) {
    shown_length = 0;
    shown[0] = '\0';
    for (uint64_t serial = 2; serial <= job.count; serial++)
        show_process(serial);
    if (!strcmp(shown, wanted))
        return;
    fprintf(stderr, "%s:%d: wanted\n%sgot\n%s", __FILE__, line, wanted, shown);
    exit(1);
}

#define EXPECT(wanted) expect_at(__LINE__, wanted)

/* --- what happens often --- */

/* The command, executed before anybody looks. */
static person *start_root(uint32_t sources) {
    begin(sources);
    person *root = born(ROOT, ADOPTER);
    if (sources & EVENTS)
        say_fork(ROOT, ADOPTER);
    executes(root, "make");
    if (sources & EVENTS)
        say_exec(ROOT, "");
    tick();
    return root;
}

static person *forks(int32_t pid, const person *parent) {
    person *made = born(pid, parent->pid);
    if (world.sources & (MW_CONNECTOR | MW_PERF))
        say_fork(pid, parent->pid);
    return made;
}

static void execs(person *who, const char *words) {
    if (world.sources & MW_HOOK)
        say_executing(who);
    executes(who, words);
    if (world.sources & (MW_CONNECTOR | MW_PERF))
        say_exec(who->pid, "");
}

/* Calls exit_group, and the parent waits for it. */
static void exits(person *who, int status) {
    if (world.sources & MW_HOOK)
        say_last(who, status);
    ends(who, status);
    if (world.sources & MW_TASKSTATS)
        say_record(who, 5);
    if (world.sources & MW_CONNECTOR)
        say_exit(who->pid, status);
    else if (world.sources & MW_PERF)
        say_exit(who->pid, -1);
    if (who->ppid != ADOPTER)
        vanishes(who);
}

/* The last tick, at the command's end. */
static void close_job(person *root) {
    if (root->life == MW_ALIVE)
        exits(root, 0);
    tick_as(1);
    CHECK(job.in->complete);
    end();
}

/* --- cases: events --- */

/* Never seen alive: events know that it was, a record knows what, too. */
static void one_round(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "cc x.c");
    at(12);
    exits(child, 3);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 event ?@11 -@12!=3\n");
    close_job(root);
}

static void one_round_with_record(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "cc x.c");
    holds(child, 50);
    at(12);
    exits(child, 3);
    person *twig = forks(102, root);
    at(13);
    exits(twig, 0);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 event cc?@11=50! cpu 5+1 io 512+0 -@12!=3\n"
           "3 102<100(1) @12 event ^make?@12=10! cpu 5+1 io 512+0 -@13!=0\n");
    close_job(root);
}

/* It has its parent's memory until it executes something. */
static void vfork_counts_once(uint32_t sources) {
    person *root = start_root(sources);
    holds(root, 70);
    at(10);
    person *child = forks(101, root);
    child->vforked = 1;
    holds(child, 70);
    tick();
    CHECK(job.f.total == 70);
    at(20);
    tick();
    CHECK(job.f.total == 70);
    at(30);
    child->vforked = 0;
    execs(child, "cc x.c");
    holds(child, 5);
    at(40);
    tick();
    at(50);
    tick();
    CHECK(job.f.total == 75);
    person *copy = forks(102, root);
    holds(copy, 60);
    tick();
    at(60);
    tick();
    CHECK(job.f.total == 135);
    close_job(root);
}

static void vfork_memory(void) {
    vfork_counts_once(0);
    vfork_counts_once(EVENTS);
}

/* Looked at between its birth and word of it. */
static void seen_before_fork(void) {
    person *root = start_root(EVENTS);
    world.tell_forks = 0;
    at(15);
    person *child = born(101, ROOT);
    at(16);
    tick();
    EXPECT("2 101<100(1) @10 look ^make@10=10\n");
    say_fork(101, ROOT);
    world.events.items[0].time = child->start;
    at(20);
    tick();
    EXPECT("2 101<100(1) @15 look ^make@10=10\n");
    at(21);
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @15 look ^make@10=10 -@21!=0\n");
    close_job(root);
}

/* A look shows the new image before the kernel says so: one image. */
static void seen_before_exec(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    tick();
    at(18);
    executes(child, "cc");
    at(20);
    tick();
    say_exec(101, "");
    world.events.items[0].time = child->programs[1].since;
    at(30);
    tick();
    at(40);
    tick();
    EXPECT("2 101<100(1) @10 event ^make@10=10 cc@18=1\n");
    close_job(root);
}

/* First looked at between an exec and word of it. */
static void attached_before_exec(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    at(11);
    executes(child, "cc");
    at(20);
    tick();
    say_exec(101, "");
    world.events.items[0].time = child->programs[1].since;
    at(30);
    tick();
    at(40);
    executes(child, "as");
    say_exec(101, "");
    at(50);
    tick();
    EXPECT("2 101<100(1) @10 event cc@11=1 as@40=1\n");
    close_job(root);
}

/* In the middle of execve there is a name, and no command line yet. */
static void in_execve(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    at(11);
    executes(child, "cc x.c");
    child->in_execve = 1;
    at(12);
    tick();
    at(13);
    say_exec(101, "");
    child->in_execve = 0;
    at(20);
    tick();
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event cc x.c@13=1~\n");
    close_job(root);
}

static void in_execve_without_events(void) {
    begin(0);
    person *root = born(ROOT, ADOPTER);
    executes(root, "make");
    tick();
    at(11);
    executes(root, "cc x.c");
    root->in_execve = 1;
    at(12);
    tick();
    root->in_execve = 0;
    at(20);
    tick();
    at(30);
    tick();
    CHECK(job.told[1].count == 2 && job.told[1].images[1].since == 1020 * MS);
    CHECK(job.told[1].images[1].valid & MW_HAS_ARGV);
    close_job(root);
}

static void two_execs(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "sh");
    at(12);
    execs(child, "cc x.c");
    at(20);
    tick();
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event ?@11 cc x.c@12=1\n");
    close_job(root);
}

/* The same of a process that is looked at already, and again. */
static void two_execs_later(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    tick();
    at(11);
    execs(child, "sh");
    at(12);
    execs(child, "cc x.c");
    at(20);
    tick();
    at(21);
    execs(child, "cc x.c");
    at(22);
    hear_news();
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event ^make@10=10 ?@11 cc x.c@12=1 "
           "cc x.c@21=1\n");
    close_job(root);
}

/* What happens between the fetching of news and a look at what they are of. */
static struct {
    person *who;
    int left; /* looks until then */
} soon;

static void exec_soon(void) {
    if (!soon.who || soon.left--)
        return;
    world.now += MS;
    executes(soon.who, "late");
    say_exec(soon.who->pid, "");
    soon.who = NULL;
}

/* An exec after its news were fetched, before the look: what is seen then is
   said once, whatever comes later. */
static void exec_while_looking(void) {
    for (int looks = 0; looks < 4; looks++) {
        person *root = start_root(EVENTS);
        at(10);
        person *child = forks(101, root);
        at(11);
        execs(child, "cc");
        at(20);
        soon.who = child;
        soon.left = looks + 1; /* the first is that of the news */
        world.meanwhile = exec_soon;
        tick();
        tick();
        at(30);
        tick();
        const told_process *told = &job.told[2];
        CHECK(told->count == 1 || told->count == 2);
        CHECK(!strcmp(told->images[told->count - 1].text, "late"));
        CHECK(told->images[0].since == 1011 * MS);
        close_job(root);
    }
}

/* An exec that was seen, and of which no word comes: it was lost. */
static void exec_lost(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    tick();
    at(11);
    executes(child, "cc");
    for (int i = 2; i < 2 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
    CHECK(job.told[2].count == 2);
    CHECK(!strcmp(job.told[2].images[1].text, "cc"));
    close_job(root);
}

/* --- cases: the hook alone --- */

static void hook_images(void) {
    person *root = start_root(MW_HOOK);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "sh -c");
    holds(child, 30);
    at(12);
    execs(child, "cc x.c");
    holds(child, 70);
    at(13);
    exits(child, 2);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 hook sh -c@11=30! cc x.c@12=70! cpu 2+1 "
           "-@13!=2\n");
    close_job(root);
}

/* The same program again, as seen by nothing but the hook. */
static void hook_same_program(void) {
    person *root = start_root(MW_HOOK);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "cc x.c");
    at(20);
    tick();
    at(25);
    say_executing(child);
    unsigned mark = child->mark;
    executes(child, "cc x.c");
    child->mark = mark; /* nothing that a poll can see */
    holds(child, 40);
    at(26);
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 hook cc x.c@11=1! cc x.c@25=40! cpu 2+1 "
           "-@26!=0\n");
    close_job(root);
}

/* As execvp() looks for a program, and finds none. */
static void hook_failed_attempt(void) {
    person *root = start_root(MW_HOOK);
    at(10);
    person *child = forks(101, root);
    at(11);
    say_executing(child);
    at(12);
    say_executing(child);
    at(13);
    exits(child, 127 << 8);
    at(20);
    tick();
    at(21);
    person *other = forks(102, root);
    at(22);
    execs(other, "sh");
    holds(other, 20);
    at(23);
    say_executing(other);
    holds(other, 25);
    at(24);
    exits(other, 1);
    at(30);
    tick();
    CHECK(job.count == 3);
    EXPECT("2 101<100(1) @10 hook ^make@10=10! cpu 2+1 -@13!=32512\n"
           "3 102<100(1) @20 hook sh@22=25! cpu 2+1 -@24!=1\n");
    close_job(root);
}

static void hook_after_poll(void) {
    person *root = start_root(MW_HOOK);
    at(10);
    person *child = forks(101, root);
    at(15);
    tick();
    at(16);
    execs(child, "cc");
    holds(child, 60);
    at(20);
    tick();
    holds(child, 80);
    at(25);
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 look ^make@15=10 cc@16=80! cpu 2+1 -@25!=0\n");
    close_job(root);
}

/* Killed: what the hook saw of it last is not its end. */
static void hook_killed(void) {
    person *root = start_root(MW_HOOK);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "cc");
    holds(child, 60);
    at(20);
    tick();
    say_executing(child); /* which fails */
    holds(child, 90);
    ends(child, 9);
    vanishes(child);
    for (int i = 3; i < 3 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
    EXPECT("2 101<100(1) @10 hook cc@11=60~ -@50\n");
    close_job(root);
}

/* --- cases: events and the hook --- */

static void hook_with_events(void) {
    person *root = start_root(EVENTS | MW_HOOK);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "sh");
    holds(child, 30);
    at(12);
    execs(child, "cc");
    holds(child, 40);
    at(13);
    say_executing(child); /* which fails */
    holds(child, 45);
    at(14);
    exits(child, 2 << 8);
    person *killed = forks(102, root);
    at(15);
    execs(killed, "sleep");
    at(16);
    ends(killed, 9);
    say_exit(102, 9);
    vanishes(killed);
    at(20);
    tick();
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event sh@11=30! cc@12=45! cpu 2+1 "
           "-@14!=512\n"
           "3 102<100(1) @14 event ?@15 -@16!=9\n");
    close_job(root);
}

/* --- cases: threads --- */

static void first_thread_first(uint32_t sources) {
    person *root = start_root(sources);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "threads");
    holds(child, 20);
    at(20);
    tick();
    at(25);
    if (sources & MW_TASKSTATS)
        say_record(child, 5);
    if (sources & EVENTS)
        say_exit(101, 0);
    at(30);
    tick();
    at(40);
    tick();
    CHECK(job.in->alive == 2);
    holds(child, 90);
    at(45);
    tick();
    holds(child, 80);
    at(46);
    ends(child, 6 << 8);
    if (sources & MW_TASKSTATS)
        say_record(child, 7)->tid = 103;
    vanishes(child);
    for (int i = 5; i < 5 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
}

static void first_thread_ends_first(void) {
    first_thread_first(EVENTS | MW_TASKSTATS);
    EXPECT("2 101<100(1) @10 event threads@11=90! cpu 12+2 "
           "io 1024+0 -@70=1536\n");
    close_job(&world.people[0]);
    first_thread_first(EVENTS);
    EXPECT("2 101<100(1) @10 event threads@11=90 -@70\n");
    close_job(&world.people[0]);
}

/* Without events, too, its record is not its last. */
static void first_thread_ends_first_without_events(void) {
    first_thread_first(MW_TASKSTATS);
    CHECK(job.told[2].exited && job.told[2].status == 6 << 8);
    CHECK(job.told[2].images[0].peak == 90);
    CHECK(job.told[2].images[0].source == EXACT);
    CHECK(job.told[2].user == 12);
    close_job(&world.people[0]);
}

/* The last thread ends between the fetching of news and the look. */
static person *about_to_end;

static void end_while_looking(void) {
    if (!about_to_end || soon.left--)
        return;
    person *who = about_to_end;
    about_to_end = NULL;
    holds(who, 200);
    ends(who, 0);
    say_record(who, 7)->tid = 103;
    vanishes(who);
}

static void last_record_is_waited_for(void) {
    for (int looks = 0; looks < 6; looks++) {
        person *root = start_root(MW_TASKSTATS);
        at(10);
        person *child = forks(101, root);
        at(11);
        execs(child, "threads");
        at(20);
        tick();
        say_record(child, 5);
        at(30);
        tick();
        at(40);
        about_to_end = child;
        soon.left = looks;
        world.meanwhile = end_while_looking;
        for (int i = 4; i < 4 + PATIENT; i++) {
            at(10 * i);
            tick();
        }
        CHECK(job.told[2].exited);
        CHECK(job.told[2].images[0].peak == 200);
        CHECK(job.told[2].images[0].source == EXACT);
        CHECK(job.told[2].user == 12);
        close_job(root);
    }
}

static void threads_are_added_up(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "threads");
    holds(child, 20);
    at(12);
    say_record(child, 100)->tid = 102;
    at(20);
    tick();
    at(25);
    say_record(child, 1000)->tid = 103;
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event threads@11=20! cpu 1105+3 "
           "io 1536+0 -@25!=0\n");
    close_job(root);
}

/* All threads but one end in its execve, the first, too, if it is another;
   their records tell of the memory that was there before. */
static void exec_with_threads(void) {
    for (int i = 0; i < 16; i++) {
        int heard_between = i & 1, by_another = i & 2, ends_at_once = i & 4;
        uint32_t events = i & 8 ? 0 : EVENTS;
        person *root = start_root(events | MW_TASKSTATS);
        at(10);
        person *child = forks(101, root);
        at(11);
        execs(child, "threads");
        holds(child, 500);
        at(20);
        tick();
        at(21);
        say_record(child, 100)->tid = 103;
        if (by_another) {
            say_record(child, 1000);
            if (events)
                say_exit(101, 0);
        }
        if (heard_between)
            hear_news();
        at(22);
        execs(child, "true");
        if (!ends_at_once) {
            at(25);
            tick();
            CHECK(job.in->alive == 2 && job.told[2].count == 2);
            CHECK(job.told[2].images[1].valid & MW_HAS_ARGV);
        }
        at(26);
        exits(child, 3);
        at(30);
        tick();
        const told_process *told = &job.told[2];
        CHECK(told->exited && told->status == 3);
        CHECK(told->user == (by_another ? 1105 : 105));
        CHECK(told->images[0].peak == 500);
        if (events)
            CHECK(told->end == 1026 * MS);
        if (events || !ends_at_once) {
            CHECK(told->count == 2);
            CHECK(told->images[1].peak == 1 && told->images[1].source == EXACT);
        }
        close_job(root);
    }
}

/* --- cases: records --- */

/* Records are fetched after events: one may come before word of its process. */
static void record_comes_first(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    person *child = born(101, ROOT);
    executes(child, "cc");
    holds(child, 30);
    at(11);
    ends(child, 1);
    say_record(child, 5);
    vanishes(child);
    at(12);
    tick();
    CHECK(job.count == 1 && job.f.early.count == 1);
    say_fork(101, ROOT);
    world.events.items[0].time = 1010 * MS;
    say_exec(101, "");
    world.events.items[1].time = 1010 * MS;
    say_exit(101, 1);
    world.events.items[2].time = 1011 * MS;
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 event cc?@10=30! cpu 5+1 io 512+0 "
           "-@11!=1\n");
    CHECK(!job.f.early.count);
    close_job(root);
}

/* A process that is followed: its record comes, and its end the next time. */
static void end_comes_later(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "cc");
    at(20);
    tick();
    at(25);
    holds(child, 30);
    ends(child, 1);
    say_record(child, 5);
    at(30);
    tick();
    CHECK(job.in->alive == 2);
    say_exit(101, 1);
    world.events.items[0].time = 1025 * MS;
    vanishes(child);
    at(40);
    tick();
    EXPECT("2 101<100(1) @10 event cc@11=30! cpu 5+1 io 512+0 "
           "-@25!=1\n");
    close_job(root);
}

/* Without events: a grandchild that nobody saw, whose parent nobody saw. */
static void unseen_grandchild(void) {
    for (int later = 0; later < 2; later++) {
        person *root = start_root(MW_TASKSTATS);
        at(30);
        person *child = born(101, ROOT);
        executes(child, "sh");
        at(40);
        person *grandchild = born(102, 101);
        executes(grandchild, "cc");
        holds(grandchild, 70);
        at(50);
        exits(grandchild, 0);
        if (later) {
            /* It is looked for, but ends before it is found. */
            ends(child, 3);
            vanishes(child);
            at(55);
            tick();
            CHECK(job.count == 1);
            say_record(child, 5);
        } else {
            exits(child, 3);
        }
        at(60);
        tick();
        CHECK(job.count == 3);
        CHECK(job.told[2].pid == 101 && job.told[2].parent == 1);
        CHECK(job.told[3].pid == 102 && job.told[3].parent == 2);
        for (uint64_t i = 2; i <= 3; i++) {
            CHECK(job.told[i].exited && job.told[i].valid & MW_BY_RECORD);
            CHECK(job.told[i].images[0].source == EXACT);
            CHECK(job.told[i].end_valid & MW_HAS_STATUS);
        }
        CHECK(job.told[3].images[0].peak == 70);
        CHECK(!strcmp(job.told[3].images[0].text, "cc"));
        close_job(root);
    }
}

static void foreign_news(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS);
    person *stranger = born(900, 1);
    for (int i = 1; i < 20; i++) {
        at(10 * i);
        say_fork(900 + i, 1);
        say_exec(900 + i, "ls");
        say_exit(900 + i, 0);
        say_record(stranger, 5);
        tick();
        CHECK(job.f.early.count <= 3);
    }
    at(200);
    tick();
    tick();
    tick();
    CHECK(!job.f.early.count);
    CHECK(job.count == 1);
    close_job(root);
}

/* The same without events, where a record may make a process known. */
static void foreign_records(void) {
    person *root = start_root(MW_TASKSTATS);
    person *stranger = born(900, 1);
    for (int i = 1; i < 20; i++) {
        at(10 * i);
        say_record(stranger, 5)->ppid = 900 + i;
        say_record(stranger, 5)->tid = 1000 + i;
        tick();
        CHECK(job.f.early.count <= 6);
    }
    CHECK(job.count == 1);
    close_job(root);
}

/* --- cases: pids used again --- */

static void pid_again_in_one_round(void) {
    person *root = start_root(EVENTS);
    for (int i = 0; i < 3; i++) {
        at(100 * i + 10);
        person *child = forks(101, root);
        at(100 * i + 11);
        execs(child, i ? "as" : "cc");
        holds(child, (uint64_t)(20 + i));
        at(100 * i + 12);
        exits(child, i);
    }
    at(300);
    tick();
    at(310);
    tick();
    EXPECT("2 101<100(1) @10 event ?@11 -@12!=0\n"
           "3 101<100(1) @110 event ?@111 -@112!=1\n"
           "4 101<100(1) @210 event ?@211 -@212!=2\n");
    close_job(root);
}

static void pid_again_while_it_lingers(void) {
    person *root = start_root(EVENTS);
    at(10);
    person *child = forks(101, root);
    at(11);
    execs(child, "cc");
    at(20);
    tick();
    at(90);
    exits(child, 1);
    at(100);
    tick();
    at(101);
    child = forks(101, root);
    at(102);
    execs(child, "as");
    at(110);
    tick();
    at(120);
    exits(child, 2);
    at(130);
    tick();
    EXPECT("2 101<100(1) @10 event cc@11=1 -@90!=1\n"
           "3 101<100(1) @101 event as@102=1 -@120!=2\n");
    close_job(root);
}

/* The first one's end is found by the look, the second is found by looking. */
static void pid_again_without_events(void) {
    begin(0);
    person *root = born(ROOT, ADOPTER);
    executes(root, "make");
    tick();
    at(10);
    person *child = forks(101, root);
    executes(child, "cc");
    tick();
    at(90);
    exits(child, 1);
    at(101);
    child = forks(101, root);
    executes(child, "as");
    for (int i = 11; i < 11 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
    EXPECT("2 101<100(1) @10 look cc@10=1 -@110\n"
           "3 101<100(1) @100 look as@120=1~\n");
    close_job(root);
}

/* Word of the second comes in the midst of the pass in which the first's slot
   is given up. */
static void fork_again_while_looking(void) {
    if (!soon.who || soon.left--)
        return;
    person *made = born(101, ROOT);
    born(150, ROOT); /* found by looking, of which word is late */
    say_fork(101, ROOT);
    soon.who = made = NULL;
}

static void pid_again_while_looking(void) {
    for (int looks = 0; looks < 8; looks++) {
        person *root = start_root(EVENTS);
        world.tell_forks = 0;
        at(10);
        person *child = forks(101, root);
        at(11);
        execs(child, "cc");
        at(20);
        tick();
        at(90);
        exits(child, 1);
        for (int i = 10; i < 12; i++) {
            at(10 * i);
            tick();
        }
        soon.who = child;
        soon.left = looks;
        world.meanwhile = fork_again_while_looking;
        for (int i = 12; i < 12 + PATIENT; i++) {
            at(10 * i);
            tick();
        }
        CHECK(job.count == 4 && job.in->alive == 3);
        world.meanwhile = NULL;
        exits(who_is(101), 1);
        exits(who_is(150), 1);
        at(200);
        tick();
        CHECK(job.in->alive == 1);
        close_job(root);
    }
}

/* --- cases: losses --- */

static void lost_events(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    person *a = forks(101, root);
    at(11);
    execs(a, "cc");
    at(20);
    tick();
    /* What is said now is lost: an end, a fork, an exec. */
    at(30);
    ends(a, 1);
    vanishes(a);
    person *b = born(102, ROOT);
    executes(b, "as");
    at(40);
    world.lost = 3;
    for (int i = 4; i < 4 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
    CHECK(job.count == 3 && job.in->alive == 2);
    CHECK(!(job.told[2].end_valid & MW_BY_EVENT));
    CHECK(job.told[3].pid == 102 && job.told[3].count == 1);
    CHECK(!strcmp(job.told[3].images[0].text, "as"));
    at(90);
    exits(b, 2);
    at(100);
    tick();
    CHECK(job.told[3].exited && job.told[3].end == 1090 * MS);
    close_job(root);
}

/* --- cases: the command --- */

static void ended_before_the_first_look(void) {
    for (int i = 0; i < 4; i++) {
        uint32_t sources = (i & 1 ? EVENTS : 0) | (i & 2 ? MW_TASKSTATS : 0);
        begin(sources);
        person *root = born(ROOT, ADOPTER);
        if (i & 1)
            say_fork(ROOT, ADOPTER);
        executes(root, "true");
        if (i & 1)
            say_exec(ROOT, "");
        exits(root, 3);
        tick();
        if (!job.in->complete)
            tick_as(1);
        CHECK(job.count == 1 && job.told[1].exited && job.told[1].status == 3);
        CHECK(!strcmp(job.told[1].images[0].text, "true"));
        end();
    }
}

/* At the command's end nobody is waited for any more. */
static void closing(void) {
    person *root = start_root(EVENTS | MW_TASKSTATS | MW_HOOK);
    at(10);
    person *gone = forks(101, root);
    person *stays = forks(102, root);
    execs(stays, "daemon");
    at(20);
    tick();
    at(21);
    ends(gone, 9);
    vanishes(gone);
    at(30);
    exits(root, 4);
    tick_as(1);
    CHECK(job.in->complete && job.in->alive == 1);
    CHECK(job.told[1].exited && job.told[1].status == 4);
    CHECK(job.told[2].exited && !job.told[3].exited);
    end();
}

/* --- cases: footprints --- */

/* Where the system keeps them: told when they change, and the highest of all as
   the process ends. */
static person *start_with_footprints(uint32_t sources) {
    begin(sources);
    world.footprints = 1;
    person *root = born(ROOT, ADOPTER);
    executes(root, "make");
    is_charged(root, 7);
    tick();
    return root;
}

static void footprints_of_looks(void) {
    person *root = start_with_footprints(0);
    CHECK(job.footprint == 7 && !job.unread);
    at(10);
    person *child = forks(101, root);
    execs(child, "cc x.c");
    is_charged(child, 90);
    is_charged(child, 60);
    tick();
    CHECK(job.footprint == 67);
    EXPECT("2 101<100(1) @10 look cc x.c@10=1+90~\n");
    /* Compressed memory: what is resident stays the same. */
    at(20);
    is_charged(child, 100);
    tick();
    CHECK(job.footprint == 107);
    at(25);
    uint64_t said = job.said;
    tick();
    CHECK(job.said == said + 2); /* the sum and the tick */
    at(40);
    is_charged(child, 80);
    tick();
    CHECK(job.footprint == 87);
    EXPECT("2 101<100(1) @10 look cc x.c@10=1~+100~\n");
    is_charged(child, 250);
    is_charged(child, 80);
    at(50);
    ends(child, 0); /* and nobody waits for it yet */
    tick();
    CHECK(job.footprint == 7);
    EXPECT("2 101<100(1) @10 look cc x.c@10=1~+250! -@50\n");
    close_job(root);
}

/* The system's mark begins anew with each program. */
static void footprints_of_images(void) {
    person *root = start_with_footprints(0);
    at(10);
    person *child = forks(101, root);
    is_charged(child, 30);
    tick();
    at(20);
    execs(child, "sh x");
    is_charged(child, 20);
    tick();
    at(30);
    execs(child, "cc x.c");
    is_charged(child, 20);
    tick();
    CHECK(job.footprint == 27);
    at(40);
    vanishes(child); /* before anybody looked at what it had left */
    tick();
    EXPECT("2 101<100(1) @10 look ^make@10=10+30~ sh x@20=1+20~"
           " cc x.c@30=1+20~ -@40\n");
    CHECK(job.footprint == 7);
    close_job(root);
}

/* A program that nobody has seen had less than the one before: what the system
   says at the end is not of that. */
static void footprint_of_an_unseen_image(void) {
    person *root = start_with_footprints(0);
    at(10);
    person *child = forks(101, root);
    execs(child, "sh x");
    is_charged(child, 50);
    tick();
    at(20);
    execs(child, "true");
    ends(child, 0);
    tick();
    EXPECT("2 101<100(1) @10 look sh x@10=1+50~ -@20\n");
    close_job(root);
}

/* Word of the end says what it had used. */
static void footprint_in_word_of_the_end(void) {
    person *root = start_with_footprints(MW_KQUEUE);
    at(10);
    person *child = forks(101, root);
    execs(child, "cc x.c");
    is_charged(child, 40);
    tick();
    at(15);
    is_charged(child, 70);
    mw_news *word = news(&world.events, MW_NEWS_EXIT, 101, NULL, 0);
    word->footprint = 70;
    word->user = 3;
    word->system = 2;
    word->read_bytes = 512;
    word->written_bytes = 1024;
    word->status = 1 << 8;
    word->valid = MW_HAS_FOOTPRINT | MW_HAS_CPU | MW_HAS_IO | MW_HAS_STATUS;
    ends(child, 1 << 8);
    vanishes(child);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 look cc x.c@10=1+70! cpu 3+2 io 512+1024"
           " -@15!=256\n");
    close_job(root);
}

/* Of another user's process nothing is known, and that is said. */
static void footprint_unread(void) {
    person *root = start_with_footprints(0);
    at(10);
    person *child = forks(101, root);
    child->held_apart = 1;
    execs(child, "sudo x");
    tick();
    CHECK(job.footprint == 7 && job.unread == 1);
    at(20);
    child->held_apart = 0;
    tick();
    CHECK(job.footprint == 8 && !job.unread);
    at(30);
    child->held_apart = 1;
    execs(child, "su y");
    tick();
    CHECK(job.footprint == 7 && job.unread == 1);
    at(40);
    ends(child, 0);
    tick();
    CHECK(job.footprint == 7 && !job.unread);
    EXPECT("2 101<100(1) @10 look sudo x@10=1+1~ su y@30 -@40\n");
    close_job(root);
}

/* It has its parent's memory, which is counted there. */
static void footprint_of_vfork(void) {
    person *root = start_with_footprints(0);
    at(10);
    person *child = forks(101, root);
    child->vforked = 1;
    is_charged(child, 7);
    tick();
    CHECK(job.footprint == 7 && !job.unread);
    at(20);
    child->vforked = 0;
    execs(child, "cc x.c");
    is_charged(child, 30);
    tick();
    CHECK(job.footprint == 37 && !job.unread);
    close_job(root);
}

/* Where the system keeps none, nothing is said of them. */
static void no_footprints(void) {
    person *root = start_root(0);
    uint64_t said = job.said;
    at(10);
    tick();
    CHECK(job.said == said + 1 && !job.f.has_footprint);
    close_job(root);
}

static const struct {
    const char *name;
    void (*run)(void);
} CASES[] = {
    {"footprints-of-looks", footprints_of_looks},
    {"footprints-of-images", footprints_of_images},
    {"footprint-of-an-unseen-image", footprint_of_an_unseen_image},
    {"footprint-in-word-of-the-end", footprint_in_word_of_the_end},
    {"footprint-unread", footprint_unread},
    {"footprint-of-vfork", footprint_of_vfork},
    {"no-footprints", no_footprints},
    {"one-round", one_round},
    {"one-round-with-record", one_round_with_record},
    {"vfork-memory", vfork_memory},
    {"seen-before-fork", seen_before_fork},
    {"seen-before-exec", seen_before_exec},
    {"attached-before-exec", attached_before_exec},
    {"in-execve", in_execve},
    {"in-execve-without-events", in_execve_without_events},
    {"two-execs", two_execs},
    {"two-execs-later", two_execs_later},
    {"exec-while-looking", exec_while_looking},
    {"exec-lost", exec_lost},
    {"hook-images", hook_images},
    {"hook-same-program", hook_same_program},
    {"hook-failed-attempt", hook_failed_attempt},
    {"hook-after-poll", hook_after_poll},
    {"hook-killed", hook_killed},
    {"hook-with-events", hook_with_events},
    {"first-thread-ends-first", first_thread_ends_first},
    {"first-thread-ends-first-without-events",
     first_thread_ends_first_without_events},
    {"last-record-is-waited-for", last_record_is_waited_for},
    {"threads-are-added-up", threads_are_added_up},
    {"exec-with-threads", exec_with_threads},
    {"record-comes-first", record_comes_first},
    {"end-comes-later", end_comes_later},
    {"unseen-grandchild", unseen_grandchild},
    {"foreign-news", foreign_news},
    {"foreign-records", foreign_records},
    {"pid-again-in-one-round", pid_again_in_one_round},
    {"pid-again-while-it-lingers", pid_again_while_it_lingers},
    {"pid-again-without-events", pid_again_without_events},
    {"pid-again-while-looking", pid_again_while_looking},
    {"lost-events", lost_events},
    {"ended-before-the-first-look", ended_before_the_first_look},
    {"closing", closing},
};

int main(int argc, char **argv) {
    CHECK(argc == 2);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        if (!strcmp(CASES[i].name, argv[1])) {
            CASES[i].run();
            return 0;
        }
    fprintf(stderr, "no such case: %s\n", argv[1]);
    return 2;
}
