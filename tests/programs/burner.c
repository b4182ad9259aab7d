/*
 * A program whose memory and whose children are known: it does what its
 * arguments say, from left to right, and exits 0 after the last of them.
 *
 *   touch N          use N MiB more, for good
 *   read             read all of it
 *   hold N           do nothing for N milliseconds
 *   mark NAME        append "NAME PID" to the file $BURNER_MARKS
 *   gate             wait for the end of file on standard input
 *   until FILE       wait until FILE exists
 *   fork N [ ... ]   N children that do what is between the brackets, then exit
 *   daemon [ ... ]   the same in a grandchild with a session of its own, whose
 *                    parent has ended
 *   thread [ ... ]   the same in a thread
 *   vfork [ ... ]    the same in a new burner, by vfork and exec
 *   dawdle [ ... ]   the same, 200 ms after the vfork
 *   spawn [ ... ]    the same in a new burner, by posix_spawn
 *   exec [ ... ]     become a new burner that does this
 *   nameless [ ... ] the same without an argv[0], nor any other argument: what
 *                    to do comes from the environment
 *   storm N          N children, one after the other, that exit at once
 *   orphans N        N grandchildren that exit at once, orphaned
 *   chain            fork a child that does so in turn, and end: for a minute
 *   breed            fork a child that waits, each time that SIGTERM arrives
 *   leave            end this thread, and not the process
 *   wait             wait for all children
 *   root             be root and nothing else, in a setuid program
 *   setsid           begin a session
 *   group            begin a process group
 *   comm NAME        set the kernel's name for this process
 *   ignore ARG       do nothing: for the looks of the command line
 *   trap N           mark "sigNN" each time that signal N arrives
 *   size             mark "ROWSxCOLUMNS" of the terminal
 *   line             mark what one line of standard input says
 *   children N       wait until the parent process has N children
 *   signal N         send signal N to the process group
 *   die N            be killed by signal N
 *   exit N
 *
 * A wait gives up after a minute with exit code 99, so that nothing survives a
 * test that failed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { PATIENCE_MS = 60000, MOST_WORDS = 64, MOST_BLOCKS = 64 };

static const size_t PAGE = 4096;
static const size_t MIB = 1 << 20;

static int marks_fd = -1;
static const char *program;

static struct {
    char *at;
    size_t size;
} blocks[MOST_BLOCKS];
static size_t block_count;

static void fail(const char *what) {
    fprintf(stderr, "burner: %s: %s\n", what, strerror(errno));
    _exit(98);
}

static int check(int result, const char *what) {
    if (result < 0)
        fail(what);
    return result;
}

static void give_up(const char *what) {
    fprintf(stderr, "burner: waited too long: %s\n", what);
    _exit(99);
}

static void pause_briefly(void) {
    struct timespec time = {.tv_nsec = 2000000};
    nanosleep(&time, NULL);
}

/* One write, so that marks of several processes do not mix. */
static void mark(const char *name) {
    char line[512];
    int n = snprintf(line, sizeof line, "%s %d\n", name, (int)getpid());
    if (write(marks_fd, line, (size_t)n) != n)
        fail("mark");
}

static void touch(size_t mib) {
    if (block_count == MOST_BLOCKS)
        fail("too many touches");
    size_t size = mib * MIB;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        fail("mmap");
    /* Small pages only: a huge one would make more resident than was touched.
     */
    madvise(at, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += PAGE)
        at[i] = 1;
    blocks[block_count].at = at;
    blocks[block_count++].size = size;
}

static void read_all(void) {
    volatile char sum = 0;
    for (size_t b = 0; b < block_count; b++)
        for (size_t i = 0; i < blocks[b].size; i += PAGE)
            sum += blocks[b].at[i];
}

static void hold(long ms) {
    struct timespec time = {.tv_sec = ms / 1000,
                            .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&time, &time))
        ;
}

static void gate(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char ignored[256];
    for (;;) {
        int ready = poll(&input, 1, PATIENCE_MS);
        if (ready == 0)
            give_up("gate");
        if (ready < 0)
            continue; /* a signal that is trapped */
        ssize_t n = read(0, ignored, sizeof ignored);
        if (n == 0 || (n < 0 && errno != EINTR))
            return;
    }
}

static void until(const char *path) {
    for (int waited = 0; access(path, F_OK); waited += 2) {
        if (waited > PATIENCE_MS)
            give_up(path);
        pause_briefly();
    }
}

static void handler(int number) {
    char name[] = "sig00";
    name[3] = (char)('0' + number / 10);
    name[4] = (char)('0' + number % 10);
    int saved = errno;
    mark(name);
    errno = saved;
}

static void trap(int number) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    check(sigaction(number, &action, NULL), "sigaction");
}

static void mark_size(void) {
    struct winsize size;
    char text[64];
    check(ioctl(0, TIOCGWINSZ, &size), "TIOCGWINSZ");
    snprintf(text, sizeof text, "%dx%d", size.ws_row, size.ws_col);
    mark(text);
}

static void mark_line(void) {
    char text[256];
    ssize_t n = check((int)read(0, text, sizeof text - 1), "read");
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    mark(text);
}

/* Waits until the parent of this process has `wanted` children. */
static void await_children(int wanted) {
    char path[64], text[65536];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)getppid(),
             (int)getppid());
    for (int waited = 0;; waited += 2) {
        int fd = check(open(path, O_RDONLY), path);
        ssize_t n = check((int)read(fd, text, sizeof text), path);
        close(fd);
        int count = 0;
        for (ssize_t i = 0; i < n; i++)
            count += text[i] == ' ';
        if (count == wanted)
            return;
        if (waited > PATIENCE_MS)
            give_up("children");
        pause_briefly();
    }
}

static void run(char **words);

/* `[ ... ]` at `*words`: the words between, as a list of their own. */
static char **block(char ***words) {
    char **from = *words, **to = from + 1;
    if (!*from || strcmp(*from, "["))
        fail("no [");
    int depth = 1;
    for (; *to; to++) {
        depth += !strcmp(*to, "[") - !strcmp(*to, "]");
        if (!depth)
            break;
    }
    if (!*to)
        fail("no ]");
    size_t count = (size_t)(to - from) - 1;
    char **inner = calloc(count + 1, sizeof *inner);
    memcpy(inner, from + 1, count * sizeof *inner);
    *words = to + 1;
    return inner;
}

/* The words as an argv, with the program before them. */
static char **as_argv(char **words) {
    size_t count = 0;
    while (words[count])
        count++;
    char **argv = calloc(count + 2, sizeof *argv);
    argv[0] = (char *)program;
    memcpy(argv + 1, words, count * sizeof *argv);
    return argv;
}

static void fork_children(int count, char **inner) {
    for (int i = 0; i < count; i++)
        if (check(fork(), "fork") == 0) {
            run(inner);
            _exit(0);
        }
}

static void become_daemon(char **inner) {
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        setsid();
        if (check(fork(), "fork") == 0)
            run(inner);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void *thread_main(void *inner) {
    run(inner);
    return NULL;
}

static void start_thread(char **inner) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_main, inner))
        fail("pthread_create");
    pthread_detach(thread);
}

static void vfork_child(char **inner, long delay_ms) {
    char **argv = as_argv(inner);
    struct timespec delay = {.tv_nsec = delay_ms * 1000000};
    pid_t child = vfork();
    if (child == 0) {
        nanosleep(&delay, NULL);
        execv(argv[0], argv);
        _exit(97);
    }
    check(child, "vfork");
}

static void spawn_child(char **inner) {
    pid_t child;
    errno = posix_spawn(&child, program, NULL, NULL, as_argv(inner), environ);
    if (errno)
        fail("posix_spawn");
}

static void become_nameless(char **inner) {
    char text[4096] = "";
    for (; *inner; inner++) {
        strcat(text, *inner);
        strcat(text, "\n");
    }
    char *none[] = {NULL};
    setenv("BURNER_WORDS", text, 1);
    execv(program, none);
    fail("exec");
}

static void storm(int count, int orphaned) {
    for (int i = 0; i < count; i++) {
        pid_t child = check(fork(), "fork");
        if (child == 0) {
            if (orphaned)
                check(fork(), "fork");
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
}

static int64_t seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void chain(void) {
    int64_t end = seconds() + PATIENCE_MS / 1000;
    while (!check(fork(), "fork") && seconds() < end)
        ;
    _exit(0);
}

static void breeder(int number) {
    (void)number;
    if (fork() == 0) {
        struct timespec left = {.tv_sec = PATIENCE_MS / 1000};
        while (nanosleep(&left, &left) && errno == EINTR)
            ;
        _exit(0);
    }
}

static void breed(void) {
    struct sigaction action = {.sa_handler = breeder, .sa_flags = SA_RESTART};
    check(sigaction(SIGTERM, &action, NULL), "sigaction");
}

static void die(int number) {
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    kill(getpid(), number);
    pause();
}

static int number_in(char ***words) {
    if (!**words)
        fail("a number is missing");
    return atoi(*(*words)++);
}

static char *word_in(char ***words) {
    if (!**words)
        fail("a word is missing");
    return *(*words)++;
}

static void run(char **words) {
    while (*words) {
        const char *what = *words++;
        if (!strcmp(what, "touch"))
            touch((size_t)number_in(&words));
        else if (!strcmp(what, "read"))
            read_all();
        else if (!strcmp(what, "hold"))
            hold(number_in(&words));
        else if (!strcmp(what, "mark"))
            mark(word_in(&words));
        else if (!strcmp(what, "gate"))
            gate();
        else if (!strcmp(what, "until"))
            until(word_in(&words));
        else if (!strcmp(what, "fork")) {
            int count = number_in(&words);
            fork_children(count, block(&words));
        } else if (!strcmp(what, "daemon"))
            become_daemon(block(&words));
        else if (!strcmp(what, "thread"))
            start_thread(block(&words));
        else if (!strcmp(what, "vfork"))
            vfork_child(block(&words), 0);
        else if (!strcmp(what, "dawdle"))
            vfork_child(block(&words), 200);
        else if (!strcmp(what, "spawn"))
            spawn_child(block(&words));
        else if (!strcmp(what, "exec")) {
            execv(program, as_argv(block(&words)));
            fail("exec");
        } else if (!strcmp(what, "nameless"))
            become_nameless(block(&words));
        else if (!strcmp(what, "storm"))
            storm(number_in(&words), 0);
        else if (!strcmp(what, "orphans"))
            storm(number_in(&words), 1);
        else if (!strcmp(what, "chain"))
            chain();
        else if (!strcmp(what, "breed"))
            breed();
        else if (!strcmp(what, "leave"))
            pthread_exit(NULL);
        else if (!strcmp(what, "wait"))
            while (wait(NULL) > 0 || errno == EINTR)
                ;
        else if (!strcmp(what, "root"))
            check(setresuid(0, 0, 0), "setresuid");
        else if (!strcmp(what, "setsid"))
            check(setsid(), "setsid");
        else if (!strcmp(what, "group"))
            check(setpgid(0, 0), "setpgid");
        else if (!strcmp(what, "comm"))
            prctl(PR_SET_NAME, word_in(&words));
        else if (!strcmp(what, "ignore"))
            word_in(&words);
        else if (!strcmp(what, "trap"))
            trap(number_in(&words));
        else if (!strcmp(what, "size"))
            mark_size();
        else if (!strcmp(what, "line"))
            mark_line();
        else if (!strcmp(what, "children"))
            await_children(number_in(&words));
        else if (!strcmp(what, "signal"))
            kill(0, number_in(&words));
        else if (!strcmp(what, "die"))
            die(number_in(&words));
        else if (!strcmp(what, "exit"))
            _exit(number_in(&words));
        else {
            errno = EINVAL;
            fail(what);
        }
    }
}

static char **words_of_environment(void) {
    char **words = calloc(MOST_WORDS + 1, sizeof *words);
    char *text = getenv("BURNER_WORDS");
    size_t count = 0;
    for (char *word = strtok(text, "\n"); word && count < MOST_WORDS;
         word = strtok(NULL, "\n"))
        words[count++] = word;
    return words;
}

int main(int argc, char **argv) {
    const char *marks = getenv("BURNER_MARKS");
    program = getenv("BURNER");
    if (!program)
        program = argv[0];
    if (marks)
        marks_fd =
            check(open(marks, O_WRONLY | O_CREAT | O_APPEND, 0666), marks);
    int nameless = argc <= 1 && getenv("BURNER_WORDS");
    run(nameless ? words_of_environment() : argv + 1);
    return 0;
}
