/* A script: its text, its steps, and when they happen. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

enum { MOST_WORDS = 64, MOST_LINE = 1 << 18 };

typedef struct {
    char *text[MOST_WORDS]; /* NUL after each */
    size_t length[MOST_WORDS];
    size_t count;
} words;

typedef struct {
    int64_t time;
    size_t line;
    char *text; /* as it was written */
} step;

static struct {
    step *steps;
    size_t count, next, capacity;
} script;

void script_reset(void) {
    for (size_t i = 0; i < script.count; i++)
        free(script.steps[i].text);
    free(script.steps);
    memset(&script, 0, sizeof script);
}

/* Takes a line apart, in place. */
static void split(char *line, words *out) {
    out->count = 0;
    for (char *at = line; *at && out->count < MOST_WORDS;) {
        at += strspn(at, " \t\r");
        if (!*at || *at == '#')
            break;
        char *to = out->text[out->count] = at;
        while (*at && *at != ' ' && *at != '\t' && *at != '\r') {
            if (*at == '%' && isxdigit(at[1]) && isxdigit(at[2])) {
                char hex[3] = {at[1], at[2], '\0'};
                *to++ = (char)strtol(hex, NULL, 16);
                at += 3;
            } else {
                *to++ = *at++;
            }
        }
        int is_last = !*at;
        out->length[out->count] = (size_t)(to - out->text[out->count]);
        *to = '\0';
        out->count++;
        if (is_last)
            break;
        at++;
    }
}

static int64_t number(const char *text) {
    char *end;
    long long value = strtoll(text, &end, 10);
    const char *units = "KMG";
    const char *unit = *end ? strchr(units, *end) : NULL;
    return unit ? value << (10 * (unit - units + 1)) : value;
}

static const char *word(const words *w, size_t i) {
    return i < w->count ? w->text[i] : "";
}

static void take_arguments(process *p, const char *path, const words *w,
                           size_t from) {
    const char *name = p->comm;
    size_t length = strlen(name);
    if (from < w->count)
        set_arguments(p, path, w->count - from,
                      (const char *const *)&w->text[from], &w->length[from]);
    else
        set_arguments(p, path, 1, &name, &length);
}

static int do_set(process *p, const words *w) {
    for (size_t i = 2; i + 1 < w->count; i += 2) {
        const char *key = w->text[i];
        int64_t value = number(w->text[i + 1]);
        if (!strcmp(key, "rss"))
            p->rss = (uint64_t)value;
        else if (!strcmp(key, "footprint"))
            p->footprint = (uint64_t)value;
        else if (!strcmp(key, "user"))
            p->user = value * 1000000;
        else if (!strcmp(key, "system"))
            p->system = value * 1000000;
        else if (!strcmp(key, "read"))
            p->read = (uint64_t)value;
        else if (!strcmp(key, "written"))
            p->written = (uint64_t)value;
        else if (!strcmp(key, "uid"))
            p->uid = (uint32_t)value;
        else if (!strcmp(key, "pgid"))
            p->pgid = (int32_t)value;
        else if (!strcmp(key, "sid"))
            p->sid = (int32_t)value;
        else if (!strcmp(key, "ignores"))
            p->ignored |= 1ull << value;
        else if (!strcmp(key, "comm"))
            snprintf(p->comm, sizeof p->comm, "%s", w->text[i + 1]);
        else if (!strcmp(key, "cwd"))
            snprintf(p->cwd, sizeof p->cwd, "%s", w->text[i + 1]);
        else
            return -1;
    }
    if (p->rss > p->rss_max)
        p->rss_max = p->rss;
    if (p->footprint > p->footprint_max)
        p->footprint_max = p->footprint;
    return 0;
}

static int do_args(process *p, const words *w) {
    if (w->count < 3 || w->length[2] < sizeof p->argc)
        return -1;
    memcpy(&p->argc, w->text[2], sizeof p->argc);
    p->arguments_length = w->length[2] - sizeof p->argc;
    free(p->arguments);
    p->arguments = malloc(p->arguments_length + 1);
    if (!p->arguments)
        abort();
    memcpy(p->arguments, w->text[2] + sizeof p->argc, p->arguments_length);
    return 0;
}

/* Does a step that changes the machine, not a process. Returns 1 if it is not
   such a step. */
static int about_machine(const words *w) {
    const char *verb = word(w, 0);
    if (!strcmp(verb, "ticks")) {
        fake.numer = (uint32_t)number(word(w, 1));
        fake.denom = (uint32_t)number(word(w, 2));
        fake.is_translated = !strcmp(word(w, 3), "translated");
        return fake.numer && fake.denom ? 0 : -1;
    }
    if (!strcmp(verb, "boot"))
        fake.boot = (int64_t)(strtod(word(w, 1), NULL) * 1e6) * 1000;
    else if (!strcmp(verb, "me")) {
        fake.my_pid = (int32_t)number(word(w, 1));
        fake.my_uid = (uint32_t)number(word(w, 2));
    } else if (!strcmp(verb, "grow"))
        fake.grow_by = (int)number(word(w, 1));
    else if (!strcmp(verb, "vanish"))
        fake.vanishing = (int32_t)number(word(w, 1));
    else if (!strcmp(verb, "lose"))
        fake.is_losing = !strcmp(word(w, 1), "on");
    else if (!strcmp(verb, "fail"))
        return fail_next(word(w, 1), (int)number(word(w, 2)),
                         (int)number(word(w, 3)), (int)number(word(w, 4)));
    else
        return 1;
    return 0;
}

static int about_new(const words *w) {
    int32_t first = (int32_t)number(word(w, 1));
    int32_t second = (int32_t)number(word(w, 2));
    process *p;
    if (!strcmp(word(w, 0), "start")) {
        p = add_process(first, second, word(w, 3));
        if (!p)
            return -1;
        p->uid = fake.my_uid;
        p->rss = p->rss_max = p->footprint = p->footprint_max = PAGE;
        take_arguments(p, p->path, w, 4);
        return 0;
    }
    return do_fork(first, second) ? 0 : -1;
}

static int happen(const words *w) {
    const char *verb = word(w, 0);
    int wrong = about_machine(w);
    if (wrong <= 0)
        return wrong;
    if (!strcmp(verb, "start") || !strcmp(verb, "fork"))
        return about_new(w);
    process *p = find_process((int32_t)number(word(w, 1)));
    if (!p)
        return -1;
    if (!strcmp(verb, "exec")) {
        do_exec(p, word(w, 2));
        take_arguments(p, p->path, w, 3);
    } else if (!strcmp(verb, "set"))
        return do_set(p, w);
    else if (!strcmp(verb, "args"))
        return do_args(p, w);
    else if (!strcmp(verb, "dying"))
        do_dying(p, (int)number(word(w, 2)));
    else if (!strcmp(verb, "exiting"))
        do_exiting(p, (int)number(word(w, 2)));
    else if (!strcmp(verb, "exit")) {
        if (p->life <= DYING)
            do_exiting(p, (int)number(word(w, 2)));
        do_exit(p);
    } else if (!strcmp(verb, "reap"))
        do_reap(p);
    else if (!strcmp(verb, "reparent"))
        p->ppid = (int32_t)number(word(w, 2));
    else
        return -1;
    return 0;
}

static void fail_script(const step *s) {
    fprintf(stderr, "fake macOS: line %zu cannot happen: %s\n", s->line,
            s->text);
    abort();
}

void script_advance(int64_t time) {
    while (script.next < script.count &&
           script.steps[script.next].time <= time) {
        const step *s = &script.steps[script.next++];
        if (s->time > fake.now)
            fake.now = s->time;
        char *line = strdup(s->text);
        words w;
        if (!line)
            abort();
        split(line, &w);
        if (happen(&w))
            fail_script(s);
        free(line);
    }
    if (time > fake.now)
        fake.now = time;
}

static void add_step(int64_t time, size_t line, const char *text) {
    if (script.count == script.capacity) {
        script.capacity = script.capacity ? 2 * script.capacity : 64;
        script.steps =
            realloc(script.steps, script.capacity * sizeof *script.steps);
        if (!script.steps)
            abort();
    }
    script.steps[script.count++] =
        (step){.time = time, .line = line, .text = strdup(text)};
}

int fake_script(const char *text) {
    static const char *const verbs[] = {
        "ticks", "boot",   "me",   "start",   "fork", "exec",
        "set",   "args",   "exit", "reap",    "grow", "reparent",
        "lose",  "vanish", "fail", "exiting", "dying"};
    char *copy = strdup(text);
    if (!copy)
        abort();
    lock_machine();
    int64_t time = fake.now;
    size_t number_of = 0;
    int wrong = 0;
    for (char *rest = copy, *line; !wrong && (line = strsep(&rest, "\n"));) {
        number_of++;
        char *head = strdup(line);
        words w;
        if (!head)
            abort();
        split(head, &w);
        int is_known = !w.count;
        if (w.count && !strcmp(w.text[0], "at")) {
            time = (int64_t)(strtod(word(&w, 1), NULL) * 1e6);
            is_known = 1;
        } else if (w.count) {
            for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
                is_known |= !strcmp(w.text[0], verbs[i]);
            if (is_known)
                add_step(time, number_of, line);
        }
        if (!is_known)
            wrong = (int)number_of;
        free(head);
    }
    script_advance(fake.now);
    unlock_machine();
    free(copy);
    return wrong;
}
