/*
 * Plays a script of the fake macOS to a sampler, line by line of a plan, and
 * prints all observations: for the tests in Python.
 *
 *   job ROOT ADOPTER OTHERS SOURCES   sets the job: see mw_sampler_options
 *   tick MS                 moves the clock on to MS, and makes one tick
 *   run                     lets the sampler's thread run, by the real clock
 *   signal NUMBER           signals all of the job
 *   scan                    scans the whole machine
 *   probe SOURCE
 *   calls WHAT              how often WHAT was asked of the machine so far
 */
#include <inttypes.h>
#include <unistd.h>

#include "check.h"
#include "fake.h"
#include "memwatch.h"

static const int64_t MS = 1000000;

static mw_sampler *sampler;
static int32_t root;

static void make_sampler(const char *line) {
    mw_sampler_options options = {.proc_root = "/proc",
                                  .interval = 3600000 * MS,
                                  .batch = 1,
                                  .max_descriptors = 100};
    CHECK(sscanf(line, "%" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNu32, &root,
                 &options.adopter_pid, &options.has_other_children,
                 &options.sources) == 4);
    int error = mw_sampler_new(&options, &sampler);
    printf("new %d\n", error);
}

static void print_observed(void) {
    static mw_observation records[4096];
    static char text[1 << 20];
    size_t count, text_count;
    CHECK(!mw_sampler_read(sampler, records, 4096, text, sizeof text, &count,
                           &text_count));
    for (size_t i = 0; i < count; i++) {
        const mw_observation *o = &records[i];
        printf("observed %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64
               " %" PRIu32 " %" PRIu32 " %" PRId32 " %" PRId32 " %" PRIu64 "\n",
               o->time, o->process, o->value, o->second, o->kind, o->valid,
               o->pid, o->ppid, o->third);
    }
    printf("text ");
    for (size_t i = 0; i < text_count; i++)
        printf("%02x", (unsigned char)text[i]);
    printf("\n");
}

static void tick(int64_t time) {
    fake_advance(time);
    if (!sampler)
        return;
    int error = mw_sampler_tick(sampler, root, time);
    print_observed();
    printf("tick %d\n", error);
}

static void run(void) {
    fake_run();
    CHECK(!mw_sampler_start(sampler, root));
    int woken;
    do {
        woken = mw_sampler_wait(sampler, -1, -1);
        CHECK(woken >= 0);
        print_observed();
    } while (!(woken & MW_WAKE_ENDED));
    printf("tick 0\n");
}

static void send(int number) {
    int32_t pids[256];
    size_t count;
    int result = mw_sampler_signal(sampler, number, pids, 256, &count);
    printf("signal %d", result);
    for (size_t i = 0; result >= 0 && i < count; i++)
        printf(" %" PRId32, pids[i]);
    printf("\n");
}

static void scan(void) {
    static mw_process rows[4096];
    size_t count;
    int error = mw_scan("/proc", rows, 4096, &count);
    for (size_t i = 0; !error && i < count; i++)
        printf("row %" PRId32 " %" PRId32 " %" PRId64 " %" PRIu32 " %c %s\n",
               rows[i].pid, rows[i].ppid, rows[i].start, rows[i].valid,
               rows[i].state, rows[i].name);
    printf("scan %d\n", error);
}

static void follow(char *line) {
    char verb[16] = "", word[32] = "";
    double number = 0;
    sscanf(line, "%15s %31s", verb, word);
    number = strtod(word, NULL);
    if (!strcmp(verb, "job"))
        make_sampler(line + strlen("job"));
    else if (!strcmp(verb, "tick"))
        tick((int64_t)(number * 1e6));
    else if (!strcmp(verb, "run"))
        run();
    else if (!strcmp(verb, "signal"))
        send((int)number);
    else if (!strcmp(verb, "scan"))
        scan();
    else if (!strcmp(verb, "probe"))
        printf("probe %d\n", mw_probe((uint32_t)number));
    else if (!strcmp(verb, "calls"))
        printf("calls %ld\n", fake_calls(word));
    else
        CHECK(!"a known line of a plan");
}

static char *read_all(const char *path) {
    static const size_t most = 1 << 22;
    char *text = calloc(most, 1);
    FILE *file = fopen(path, "r");
    CHECK(text && file);
    CHECK(fread(text, 1, most - 1, file) < most - 1);
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    char *script = read_all(argv[1]), *plan = read_all(argv[2]);
    fake_reset();
    int wrong = fake_script(script);
    if (wrong)
        fprintf(stderr, "line %d of the script is wrong\n", wrong);
    CHECK(!wrong);
    for (char *rest = plan, *line; (line = strsep(&rest, "\n"));)
        if (*line)
            follow(line);
    if (sampler) {
        mw_sampler_stats stats;
        mw_sampler_stats_read(sampler, &stats);
        printf("stats %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32
               " %" PRId32 "\n",
               stats.unkept, stats.unreadable, stats.scanning, stats.lost,
               stats.sources, stats.error);
    }
    mw_sampler_free(sampler);
    /* No kqueue is left open. */
    CHECK(!fake_kqueues());
    fake_reset();
    free(script);
    free(plan);
    return 0;
}
