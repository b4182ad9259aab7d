/*
 * follow.c on the machine of world.h: readings and events come in every order
 * in which they may come, and each process is reported once and as it was.
 *
 *     test_follow CASE
 *
 * The observations are compared as text, in the form that world.h describes, a
 * line for each process but the first.
 */
#include "world.h"

static const uint32_t EVENTS = MW_CONNECTOR;

/* More ticks than the follower waits for the event of an end. */
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

/* Starts the command, which executes before the first tick. */
static process *start_root(uint32_t sources) {
    begin(sources);
    process *root = born(ROOT, ADOPTER);
    if (sources & EVENTS)
        emit_fork(ROOT, ADOPTER);
    executes(root, "make");
    if (sources & EVENTS)
        emit_exec(ROOT, "");
    tick();
    return root;
}

static process *forks(int32_t pid, const process *parent) {
    process *made = born(pid, parent->pid);
    if (world.sources & (MW_CONNECTOR | MW_PERF))
        emit_fork(pid, parent->pid);
    return made;
}

static void execs(process *p, const char *words) {
    if (world.sources & MW_HOOK)
        emit_executing(p);
    executes(p, words);
    if (world.sources & (MW_CONNECTOR | MW_PERF))
        emit_exec(p->pid, "");
}

/* Makes a process call exit_group, and its parent wait for it. */
static void exits(process *p, int status) {
    if (world.sources & MW_HOOK)
        emit_exiting(p, status);
    ends(p, status);
    if (world.sources & MW_TASKSTATS)
        emit_record(p, 5);
    if (world.sources & MW_CONNECTOR)
        emit_exit(p->pid, status);
    else if (world.sources & MW_PERF)
        emit_exit(p->pid, -1);
    if (p->ppid != ADOPTER)
        vanishes(p);
}

/* Makes the last tick, at the command's end. */
static void close_job(process *root) {
    if (root->life == MW_ALIVE)
        exits(root, 0);
    tick_as(1);
    CHECK(job.in->complete);
    end();
}

/* --- cases: events --- */

/* A process that no tick has found: events report that it was there, a record
   also what it ran. */
static void one_tick(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "cc x.c");
    at(12);
    exits(child, 3);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 event ?@11 -@12!=3\n");
    close_job(root);
}

static void one_tick_with_record(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "cc x.c");
    holds(child, 50);
    at(12);
    exits(child, 3);
    process *twig = forks(102, root);
    at(13);
    exits(twig, 0);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 event cc?@11=50! cpu 5+1 io 512+0 -@12!=3\n"
           "3 102<100(1) @12 event ^make?@12=10! cpu 5+1 io 512+0 -@13!=0\n");
    close_job(root);
}

/* A child of vfork has its parent's memory until it executes something. */
static void vfork_counts_once(uint32_t sources) {
    process *root = start_root(sources);
    holds(root, 70);
    at(10);
    process *child = forks(101, root);
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
    process *copy = forks(102, root);
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

/* A process is read between its fork and the event of it. */
static void seen_before_fork(void) {
    process *root = start_root(EVENTS);
    world.cover_forks = 0;
    at(15);
    process *child = born(101, ROOT);
    at(16);
    tick();
    EXPECT("2 101<100(1) @10 tick ^make@10=10\n");
    emit_fork(101, ROOT);
    world.events.items[0].time = child->start;
    at(20);
    tick();
    EXPECT("2 101<100(1) @15 tick ^make@10=10\n");
    at(21);
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @15 tick ^make@10=10 -@21!=0\n");
    close_job(root);
}

/* A reading shows the new image before the event comes: it is one image. */
static void seen_before_exec(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
    tick();
    at(18);
    executes(child, "cc");
    at(20);
    tick();
    emit_exec(101, "");
    world.events.items[0].time = child->programs[1].since;
    at(30);
    tick();
    at(40);
    tick();
    EXPECT("2 101<100(1) @10 event ^make@10=10 cc@18=1\n");
    close_job(root);
}

/* A process is first read between an exec and the event of it. */
static void attached_before_exec(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
    at(11);
    executes(child, "cc");
    at(20);
    tick();
    emit_exec(101, "");
    world.events.items[0].time = child->programs[1].since;
    at(30);
    tick();
    at(40);
    executes(child, "as");
    emit_exec(101, "");
    at(50);
    tick();
    EXPECT("2 101<100(1) @10 event cc@11=1 as@40=1\n");
    close_job(root);
}

/* In the middle of execve there is a name, but no command line yet. */
static void in_execve(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
    at(11);
    executes(child, "cc x.c");
    child->in_execve = 1;
    at(12);
    tick();
    at(13);
    emit_exec(101, "");
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
    process *root = born(ROOT, ADOPTER);
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
    CHECK(job.seen[1].count == 2 && job.seen[1].images[1].since == 1020 * MS);
    CHECK(job.seen[1].images[1].valid & MW_HAS_ARGV);
    close_job(root);
}

static void two_execs(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
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

/* The same for a process that has been read before, and is read again. */
static void two_execs_later(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
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
    handle_events();
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event ^make@10=10 ?@11 cc x.c@12=1 "
           "cc x.c@21=1\n");
    close_job(root);
}

/* What happens between the fetching of events and the reading of a process. */
static struct {
    process *process;
    int left; /* readings until then */
} soon;

static void exec_soon(void) {
    if (!soon.process || soon.left--)
        return;
    world.now += MS;
    executes(soon.process, "late");
    emit_exec(soon.process->pid, "");
    soon.process = NULL;
}

/* An exec after the events were fetched and before the process is read: the
   image is reported once, whatever comes later. */
static void exec_while_reading(void) {
    for (int readings = 0; readings < 4; readings++) {
        process *root = start_root(EVENTS);
        at(10);
        process *child = forks(101, root);
        at(11);
        execs(child, "cc");
        at(20);
        soon.process = child;
        soon.left = readings + 1; /* the first is that of the events */
        world.meanwhile = exec_soon;
        tick();
        tick();
        at(30);
        tick();
        const seen_process *seen = &job.seen[2];
        CHECK(seen->count == 1 || seen->count == 2);
        CHECK(!strcmp(seen->images[seen->count - 1].text, "late"));
        CHECK(seen->images[0].since == 1011 * MS);
        close_job(root);
    }
}

/* An exec that was seen, and whose event was lost. */
static void exec_lost(void) {
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
    tick();
    at(11);
    executes(child, "cc");
    for (int i = 2; i < 2 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
    CHECK(job.seen[2].count == 2);
    CHECK(!strcmp(job.seen[2].images[1].text, "cc"));
    close_job(root);
}

/* --- cases: the hook alone --- */

static void hook_images(void) {
    process *root = start_root(MW_HOOK);
    at(10);
    process *child = forks(101, root);
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

/* The same program again, which only the hook can notice. */
static void hook_same_program(void) {
    process *root = start_root(MW_HOOK);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "cc x.c");
    at(20);
    tick();
    at(25);
    emit_executing(child);
    unsigned poll_id = child->poll_id;
    executes(child, "cc x.c");
    child->poll_id = poll_id; /* nothing that a poll can see */
    holds(child, 40);
    at(26);
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 hook cc x.c@11=1! cc x.c@25=40! cpu 2+1 "
           "-@26!=0\n");
    close_job(root);
}

/* execvp() looks for a program, and finds none. */
static void hook_failed_attempt(void) {
    process *root = start_root(MW_HOOK);
    at(10);
    process *child = forks(101, root);
    at(11);
    emit_executing(child);
    at(12);
    emit_executing(child);
    at(13);
    exits(child, 127 << 8);
    at(20);
    tick();
    at(21);
    process *other = forks(102, root);
    at(22);
    execs(other, "sh");
    holds(other, 20);
    at(23);
    emit_executing(other);
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
    process *root = start_root(MW_HOOK);
    at(10);
    process *child = forks(101, root);
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
    EXPECT("2 101<100(1) @10 tick ^make@15=10 cc@16=80! cpu 2+1 -@25!=0\n");
    close_job(root);
}

/* A process is killed: the hook's last event of it is not its end. */
static void hook_killed(void) {
    process *root = start_root(MW_HOOK);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "cc");
    holds(child, 60);
    at(20);
    tick();
    emit_executing(child); /* which fails */
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
    process *root = start_root(EVENTS | MW_HOOK);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "sh");
    holds(child, 30);
    at(12);
    execs(child, "cc");
    holds(child, 40);
    at(13);
    emit_executing(child); /* which fails */
    holds(child, 45);
    at(14);
    exits(child, 2 << 8);
    process *killed = forks(102, root);
    at(15);
    execs(killed, "sleep");
    at(16);
    ends(killed, 9);
    emit_exit(102, 9);
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
    process *root = start_root(sources);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "threads");
    holds(child, 20);
    at(20);
    tick();
    at(25);
    if (sources & MW_TASKSTATS)
        emit_record(child, 5);
    if (sources & EVENTS)
        emit_exit(101, 0);
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
        emit_record(child, 7)->tid = 103;
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
    close_job(&world.processes[0]);
    first_thread_first(EVENTS);
    EXPECT("2 101<100(1) @10 event threads@11=90 -@70\n");
    close_job(&world.processes[0]);
}

/* Also without events, the record of its first thread is not the last. */
static void first_thread_ends_first_without_events(void) {
    first_thread_first(MW_TASKSTATS);
    CHECK(job.seen[2].exited && job.seen[2].status == 6 << 8);
    CHECK(job.seen[2].images[0].peak == 90);
    CHECK(job.seen[2].images[0].source == EXACT);
    CHECK(job.seen[2].user == 12);
    close_job(&world.processes[0]);
}

/* The last thread ends between the fetching of events and the reading. */
static process *about_to_end;

static void end_while_reading(void) {
    if (!about_to_end || soon.left--)
        return;
    process *p = about_to_end;
    about_to_end = NULL;
    holds(p, 200);
    ends(p, 0);
    emit_record(p, 7)->tid = 103;
    vanishes(p);
}

static void last_record_is_waited_for(void) {
    for (int readings = 0; readings < 6; readings++) {
        process *root = start_root(MW_TASKSTATS);
        at(10);
        process *child = forks(101, root);
        at(11);
        execs(child, "threads");
        at(20);
        tick();
        emit_record(child, 5);
        at(30);
        tick();
        at(40);
        about_to_end = child;
        soon.left = readings;
        world.meanwhile = end_while_reading;
        for (int i = 4; i < 4 + PATIENT; i++) {
            at(10 * i);
            tick();
        }
        CHECK(job.seen[2].exited);
        CHECK(job.seen[2].images[0].peak == 200);
        CHECK(job.seen[2].images[0].source == EXACT);
        CHECK(job.seen[2].user == 12);
        close_job(root);
    }
}

static void threads_are_added_up(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "threads");
    holds(child, 20);
    at(12);
    emit_record(child, 100)->tid = 102;
    at(20);
    tick();
    at(25);
    emit_record(child, 1000)->tid = 103;
    exits(child, 0);
    at(30);
    tick();
    EXPECT("2 101<100(1) @10 event threads@11=20! cpu 1105+3 "
           "io 1536+0 -@25!=0\n");
    close_job(root);
}

/* All threads but one end in its execve, also the first if it is another; their
   records have the memory from before. */
static void exec_with_threads(void) {
    for (int i = 0; i < 16; i++) {
        int handled_between = i & 1, by_another = i & 2, ends_at_once = i & 4;
        uint32_t events = i & 8 ? 0 : EVENTS;
        process *root = start_root(events | MW_TASKSTATS);
        at(10);
        process *child = forks(101, root);
        at(11);
        execs(child, "threads");
        holds(child, 500);
        at(20);
        tick();
        at(21);
        emit_record(child, 100)->tid = 103;
        if (by_another) {
            emit_record(child, 1000);
            if (events)
                emit_exit(101, 0);
        }
        if (handled_between)
            handle_events();
        at(22);
        execs(child, "true");
        if (!ends_at_once) {
            at(25);
            tick();
            CHECK(job.in->alive == 2 && job.seen[2].count == 2);
            CHECK(job.seen[2].images[1].valid & MW_HAS_ARGV);
        }
        at(26);
        exits(child, 3);
        at(30);
        tick();
        const seen_process *seen = &job.seen[2];
        CHECK(seen->exited && seen->status == 3);
        CHECK(seen->user == (by_another ? 1105 : 105));
        CHECK(seen->images[0].peak == 500);
        if (events)
            CHECK(seen->end == 1026 * MS);
        if (events || !ends_at_once) {
            CHECK(seen->count == 2);
            CHECK(seen->images[1].peak == 1 && seen->images[1].source == EXACT);
        }
        close_job(root);
    }
}

/* --- cases: records --- */

/* Records are fetched after events: one may come before the event of its
   process's fork. */
static void record_comes_first(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    process *child = born(101, ROOT);
    executes(child, "cc");
    holds(child, 30);
    at(11);
    ends(child, 1);
    emit_record(child, 5);
    vanishes(child);
    at(12);
    tick();
    CHECK(job.count == 1 && job.f.early.count == 1);
    emit_fork(101, ROOT);
    world.events.items[0].time = 1010 * MS;
    emit_exec(101, "");
    world.events.items[1].time = 1010 * MS;
    emit_exit(101, 1);
    world.events.items[2].time = 1011 * MS;
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 event cc?@10=30! cpu 5+1 io 512+0 "
           "-@11!=1\n");
    CHECK(!job.f.early.count);
    close_job(root);
}

/* The record of a process comes first, and the event of its end the next
   time. */
static void end_comes_later(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    process *child = forks(101, root);
    at(11);
    execs(child, "cc");
    at(20);
    tick();
    at(25);
    holds(child, 30);
    ends(child, 1);
    emit_record(child, 5);
    at(30);
    tick();
    CHECK(job.in->alive == 2);
    emit_exit(101, 1);
    world.events.items[0].time = 1025 * MS;
    vanishes(child);
    at(40);
    tick();
    EXPECT("2 101<100(1) @10 event cc@11=30! cpu 5+1 io 512+0 "
           "-@25!=1\n");
    close_job(root);
}

/* Without events: a grandchild that no tick found, and neither its parent. */
static void unseen_grandchild(void) {
    for (int later = 0; later < 2; later++) {
        process *root = start_root(MW_TASKSTATS);
        at(30);
        process *child = born(101, ROOT);
        executes(child, "sh");
        at(40);
        process *grandchild = born(102, 101);
        executes(grandchild, "cc");
        holds(grandchild, 70);
        at(50);
        exits(grandchild, 0);
        if (later) {
            /* The child ends before a tick finds it. */
            ends(child, 3);
            vanishes(child);
            at(55);
            tick();
            CHECK(job.count == 1);
            emit_record(child, 5);
        } else {
            exits(child, 3);
        }
        at(60);
        tick();
        CHECK(job.count == 3);
        CHECK(job.seen[2].pid == 101 && job.seen[2].parent == 1);
        CHECK(job.seen[3].pid == 102 && job.seen[3].parent == 2);
        for (uint64_t i = 2; i <= 3; i++) {
            CHECK(job.seen[i].exited && job.seen[i].valid & MW_BY_RECORD);
            CHECK(job.seen[i].images[0].source == EXACT);
            CHECK(job.seen[i].end_valid & MW_HAS_STATUS);
        }
        CHECK(job.seen[3].images[0].peak == 70);
        CHECK(!strcmp(job.seen[3].images[0].text, "cc"));
        close_job(root);
    }
}

static void foreign_events(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS);
    process *stranger = born(900, 1);
    for (int i = 1; i < 20; i++) {
        at(10 * i);
        emit_fork(900 + i, 1);
        emit_exec(900 + i, "ls");
        emit_exit(900 + i, 0);
        emit_record(stranger, 5);
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
    process *root = start_root(MW_TASKSTATS);
    process *stranger = born(900, 1);
    for (int i = 1; i < 20; i++) {
        at(10 * i);
        emit_record(stranger, 5)->ppid = 900 + i;
        emit_record(stranger, 5)->tid = 1000 + i;
        tick();
        CHECK(job.f.early.count <= 6);
    }
    CHECK(job.count == 1);
    close_job(root);
}

/* --- cases: pids that are reused --- */

static void pid_again_in_one_tick(void) {
    process *root = start_root(EVENTS);
    for (int i = 0; i < 3; i++) {
        at(100 * i + 10);
        process *child = forks(101, root);
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
    process *root = start_root(EVENTS);
    at(10);
    process *child = forks(101, root);
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

/* A reading finds the end of the first process, and a tick the second. */
static void pid_again_without_events(void) {
    begin(0);
    process *root = born(ROOT, ADOPTER);
    executes(root, "make");
    tick();
    at(10);
    process *child = forks(101, root);
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
    EXPECT("2 101<100(1) @10 tick cc@10=1 -@110\n"
           "3 101<100(1) @100 tick as@120=1~\n");
    close_job(root);
}

/* The second process's fork event comes during the tick in which the first
   one's slot is removed. */
static void fork_again_while_reading(void) {
    if (!soon.process || soon.left--)
        return;
    process *made = born(101, ROOT);
    born(150, ROOT); /* found by a tick; its event is late */
    emit_fork(101, ROOT);
    soon.process = made = NULL;
}

static void pid_again_while_reading(void) {
    for (int readings = 0; readings < 8; readings++) {
        process *root = start_root(EVENTS);
        world.cover_forks = 0;
        at(10);
        process *child = forks(101, root);
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
        soon.process = child;
        soon.left = readings;
        world.meanwhile = fork_again_while_reading;
        for (int i = 12; i < 12 + PATIENT; i++) {
            at(10 * i);
            tick();
        }
        CHECK(job.count == 4 && job.in->alive == 3);
        world.meanwhile = NULL;
        exits(process_of(101), 1);
        exits(process_of(150), 1);
        at(200);
        tick();
        CHECK(job.in->alive == 1);
        close_job(root);
    }
}

/* --- cases: losses --- */

static void lost_events(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS);
    at(10);
    process *a = forks(101, root);
    at(11);
    execs(a, "cc");
    at(20);
    tick();
    /* The events of now are lost: an end, a fork, an exec. */
    at(30);
    ends(a, 1);
    vanishes(a);
    process *b = born(102, ROOT);
    executes(b, "as");
    at(40);
    world.lost = 3;
    for (int i = 4; i < 4 + PATIENT; i++) {
        at(10 * i);
        tick();
    }
    CHECK(job.count == 3 && job.in->alive == 2);
    CHECK(!(job.seen[2].end_valid & MW_BY_EVENT));
    CHECK(job.seen[3].pid == 102 && job.seen[3].count == 1);
    CHECK(!strcmp(job.seen[3].images[0].text, "as"));
    at(90);
    exits(b, 2);
    at(100);
    tick();
    CHECK(job.seen[3].exited && job.seen[3].end == 1090 * MS);
    close_job(root);
}

/* --- cases: the command --- */

static void ended_before_the_first_tick(void) {
    for (int i = 0; i < 4; i++) {
        uint32_t sources = (i & 1 ? EVENTS : 0) | (i & 2 ? MW_TASKSTATS : 0);
        begin(sources);
        process *root = born(ROOT, ADOPTER);
        if (i & 1)
            emit_fork(ROOT, ADOPTER);
        executes(root, "true");
        if (i & 1)
            emit_exec(ROOT, "");
        exits(root, 3);
        tick();
        if (!job.in->complete)
            tick_as(1);
        CHECK(job.count == 1 && job.seen[1].exited && job.seen[1].status == 3);
        CHECK(!strcmp(job.seen[1].images[0].text, "true"));
        end();
    }
}

/* At the command's end no process is waited for any more. */
static void closing(void) {
    process *root = start_root(EVENTS | MW_TASKSTATS | MW_HOOK);
    at(10);
    process *gone = forks(101, root);
    process *stays = forks(102, root);
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
    CHECK(job.seen[1].exited && job.seen[1].status == 4);
    CHECK(job.seen[2].exited && !job.seen[3].exited);
    end();
}

/* --- cases: footprints --- */

/* On a system that has them, footprints are reported when they change, and the
   highest when the process ends. */
static process *start_with_footprints(uint32_t sources) {
    begin(sources);
    world.footprints = 1;
    process *root = born(ROOT, ADOPTER);
    executes(root, "make");
    is_charged(root, 7);
    tick();
    return root;
}

static void footprints_of_readings(void) {
    process *root = start_with_footprints(0);
    CHECK(job.footprint == 7 && !job.unread);
    at(10);
    process *child = forks(101, root);
    execs(child, "cc x.c");
    is_charged(child, 90);
    is_charged(child, 60);
    tick();
    CHECK(job.footprint == 67);
    EXPECT("2 101<100(1) @10 tick cc x.c@10=1+90~\n");
    /* Compressed memory: what is resident stays the same. */
    at(20);
    is_charged(child, 100);
    tick();
    CHECK(job.footprint == 107);
    at(25);
    uint64_t before = job.observations;
    tick();
    CHECK(job.observations == before + 2); /* the sum and the tick */
    at(40);
    is_charged(child, 80);
    tick();
    CHECK(job.footprint == 87);
    EXPECT("2 101<100(1) @10 tick cc x.c@10=1~+100~\n");
    is_charged(child, 250);
    is_charged(child, 80);
    at(50);
    ends(child, 0); /* and its parent does not wait for it yet */
    tick();
    CHECK(job.footprint == 7);
    EXPECT("2 101<100(1) @10 tick cc x.c@10=1~+250! -@50\n");
    close_job(root);
}

/* The system's high-water mark begins anew with each program. */
static void footprints_of_images(void) {
    process *root = start_with_footprints(0);
    at(10);
    process *child = forks(101, root);
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
    vanishes(child); /* before its last peak was read */
    tick();
    EXPECT("2 101<100(1) @10 tick ^make@10=10+30~ sh x@20=1+20~"
           " cc x.c@30=1+20~ -@40\n");
    CHECK(job.footprint == 7);
    close_job(root);
}

/* The last program, which no tick has found, had less than the one before: the
   peak at the end is that of the last. */
static void footprint_of_an_unseen_image(void) {
    process *root = start_with_footprints(0);
    at(10);
    process *child = forks(101, root);
    execs(child, "sh x");
    is_charged(child, 50);
    tick();
    at(20);
    execs(child, "true");
    ends(child, 0);
    tick();
    EXPECT("2 101<100(1) @10 tick sh x@10=1+50~ -@20\n");
    close_job(root);
}

/* The exit event has what the process has used. */
static void footprint_in_the_exit_event(void) {
    process *root = start_with_footprints(MW_KQUEUE);
    at(10);
    process *child = forks(101, root);
    execs(child, "cc x.c");
    is_charged(child, 40);
    tick();
    at(15);
    is_charged(child, 70);
    mw_event *event = emit(&world.events, MW_EVENT_EXIT, 101, NULL, 0);
    event->footprint = 70;
    event->user = 3;
    event->system = 2;
    event->read_bytes = 512;
    event->written_bytes = 1024;
    event->status = 1 << 8;
    event->valid = MW_HAS_FOOTPRINT | MW_HAS_CPU | MW_HAS_IO | MW_HAS_STATUS;
    ends(child, 1 << 8);
    vanishes(child);
    at(20);
    tick();
    EXPECT("2 101<100(1) @10 tick cc x.c@10=1+70! cpu 3+2 io 512+1024"
           " -@15!=256\n");
    close_job(root);
}

/* Another user's process cannot be read, and is counted as missing. */
static void footprint_unread(void) {
    process *root = start_with_footprints(0);
    at(10);
    process *child = forks(101, root);
    child->unreadable = 1;
    execs(child, "sudo x");
    tick();
    CHECK(job.footprint == 7 && job.unread == 1);
    at(20);
    child->unreadable = 0;
    tick();
    CHECK(job.footprint == 8 && !job.unread);
    at(30);
    child->unreadable = 1;
    execs(child, "su y");
    tick();
    CHECK(job.footprint == 7 && job.unread == 1);
    at(40);
    ends(child, 0);
    tick();
    CHECK(job.footprint == 7 && !job.unread);
    EXPECT("2 101<100(1) @10 tick sudo x@10=1+1~ su y@30 -@40\n");
    close_job(root);
}

/* A child of vfork has its parent's memory, which counts there. */
static void footprint_of_vfork(void) {
    process *root = start_with_footprints(0);
    at(10);
    process *child = forks(101, root);
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

/* On a system without footprints, none are reported. */
static void no_footprints(void) {
    process *root = start_root(0);
    uint64_t before = job.observations;
    at(10);
    tick();
    CHECK(job.observations == before + 1 && !job.f.has_footprint);
    close_job(root);
}

static const test_case CASES[] = {
    {"footprints-of-readings", footprints_of_readings},
    {"footprints-of-images", footprints_of_images},
    {"footprint-of-an-unseen-image", footprint_of_an_unseen_image},
    {"footprint-in-the-exit-event", footprint_in_the_exit_event},
    {"footprint-unread", footprint_unread},
    {"footprint-of-vfork", footprint_of_vfork},
    {"no-footprints", no_footprints},
    {"one-tick", one_tick},
    {"one-tick-with-record", one_tick_with_record},
    {"vfork-memory", vfork_memory},
    {"seen-before-fork", seen_before_fork},
    {"seen-before-exec", seen_before_exec},
    {"attached-before-exec", attached_before_exec},
    {"in-execve", in_execve},
    {"in-execve-without-events", in_execve_without_events},
    {"two-execs", two_execs},
    {"two-execs-later", two_execs_later},
    {"exec-while-reading", exec_while_reading},
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
    {"foreign-events", foreign_events},
    {"foreign-records", foreign_records},
    {"pid-again-in-one-tick", pid_again_in_one_tick},
    {"pid-again-while-it-lingers", pid_again_while_it_lingers},
    {"pid-again-without-events", pid_again_without_events},
    {"pid-again-while-reading", pid_again_while_reading},
    {"lost-events", lost_events},
    {"ended-before-the-first-tick", ended_before_the_first_tick},
    {"closing", closing},
};

int main(int argc, char **argv) {
    CHECK(argc == 2);
    FIND_CASE(CASES, argv[1])->run();
    return 0;
}
