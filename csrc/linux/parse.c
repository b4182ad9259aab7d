/* Parsers of the text in /proc. */
#include "parse.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Reads decimal digits at `*at`, before `end`. Returns how many there were. A
   number too large for 64 bits becomes the largest. */
static size_t digits(const char **at, const char *end, uint64_t *value) {
    const char *from = *at;
    uint64_t sum = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            sum = UINT64_MAX;
        else
            sum = sum * 10 + digit;
    }
    *value = sum;
    return (size_t)(*at - from);
}

/* Reads one field that is a number, and the space before it. The sign of a
   field is skipped: no signed field is used. */
static int field(const char **at, const char *end, uint64_t *value) {
    if (*at < end && **at == ' ')
        ++*at;
    if (*at < end && **at == '-')
        ++*at;
    return digits(at, end, value) ? 0 : -EINVAL;
}

static int32_t as_pid(uint64_t value) {
    return value <= INT32_MAX ? (int32_t)value : 0;
}

int mw_parse_stat(const char *text, size_t length, mw_stat *out) {
    const char *at = text, *end = text + length;
    uint64_t value;
    memset(out, 0, sizeof *out);
    if (field(&at, end, &value))
        return -EINVAL;
    out->pid = as_pid(value);

    /* The name may contain anything, even ")": it ends at the last one. */
    const char *open = memchr(at, '(', (size_t)(end - at));
    const char *close = end;
    while (close > at && close[-1] != ')')
        close--;
    if (!open || --close <= open)
        return -EINVAL;
    size_t name = (size_t)(close - open - 1);
    if (name >= sizeof out->comm)
        name = sizeof out->comm - 1;
    memcpy(out->comm, open + 1, name);

    at = close + 1;
    if (end - at < 2 || at[0] != ' ')
        return -EINVAL;
    out->state = at[1];
    at += 2;
    for (int number = 4; number <= 28; number++) {
        if (field(&at, end, &value))
            return -EINVAL;
        switch (number) {
        case 4: out->ppid = as_pid(value); break;
        case 9: out->flags = (uint32_t)value; break;
        case 10: out->faults = value; break;
        case 12: out->faults += value; break;
        case 14: out->user_ticks = value; break;
        case 15: out->system_ticks = value; break;
        case 20: out->threads = (int64_t)(value & INT64_MAX); break;
        case 22: out->start_ticks = value; break;
        case 26: out->start_code = value; break;
        case 28: out->start_stack = value; break;
        }
    }
    /* The last field read must not have been cut. */
    if (at == end || (*at != ' ' && *at != '\n'))
        return -EINVAL;
    return out->threads ? 0 : -ESRCH;
}

uint64_t mw_exec_id(const mw_stat *stat) {
    /* Both addresses are random and independent, unless that is switched off:
       then the stack still begins below arguments of another length. In the
       middle of execve there is a stack before there is code, and not yet in
       its final place. */
    if (!stat->start_stack || !stat->start_code)
        return 0;
    return stat->start_stack ^ stat->start_code << 16;
}

int mw_parse_statm(const char *text, size_t length, mw_statm *out) {
    const char *at = text, *end = text + length;
    memset(out, 0, sizeof *out);
    if (field(&at, end, &out->size) || field(&at, end, &out->resident) ||
        field(&at, end, &out->shared) || field(&at, end, &out->text))
        return -EINVAL;
    return at < end && (*at == ' ' || *at == '\n') ? 0 : -EINVAL;
}

/* Returns what follows `key`, which begins with the newline before it; NULL if
   the key is not there, or nothing follows. */
static const char *behind(const char *text, size_t length, const char *key) {
    const size_t key_length = strlen(key);
    const char *end = text + length;
    for (const char *at = text; (size_t)(end - at) > key_length; at++) {
        at = memchr(at, '\n', (size_t)(end - at) - key_length);
        if (!at)
            return NULL;
        if (!memcmp(at, key, key_length))
            return at + key_length;
    }
    return NULL;
}

/* Finds the number behind `key`: 1, or 0 if it is not there. A character must
   follow the digits, or they may have been cut. */
static int number_of(const char *text, size_t length, const char *key,
                     uint64_t *value) {
    const char *at = behind(text, length, key), *end = text + length;
    if (!at)
        return 0;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return digits(&at, end, value) && at < end;
}

/* Does the same for a number of KiB, and returns bytes. */
static int kib_behind(const char *text, size_t length, const char *key,
                      uint64_t *bytes) {
    uint64_t kib;
    if (!number_of(text, length, key, &kib) || kib > UINT64_MAX / 1024)
        return 0;
    *bytes = kib * 1024;
    return 1;
}

int mw_parse_watermark(const char *text, size_t length, uint64_t *bytes) {
    return kib_behind(text, length, "\nVmHWM:", bytes);
}

int mw_parse_parts(const char *text, size_t length, uint64_t *shmem,
                   uint64_t *swapped, uint64_t *huge) {
    /* Behind all of them in every kernel: without it the text was cut, and what
       is missing may be what was cut. */
    const char *end = behind(text, length, "\nThreads:");
    if (!end)
        return 0;
    length = (size_t)(end - text);
    if (!kib_behind(text, length, "\nRssShmem:", shmem))
        return 0;
    if (!kib_behind(text, length, "\nVmSwap:", swapped))
        *swapped = 0;
    if (!kib_behind(text, length, "\nHugetlbPages:", huge))
        *huge = 0;
    return 1;
}

int mw_parse_huge_pages(const char *text, size_t length, uint64_t *bytes) {
    return kib_behind(text, length, "\nHugetlb:", bytes);
}

int mw_parse_huge_faults(const char *text, size_t length, uint64_t *pages) {
    uint64_t faulted, collapsed;
    if (!number_of(text, length, "\nthp_fault_alloc ", &faulted) ||
        !number_of(text, length, "\nthp_collapse_alloc ", &collapsed) ||
        faulted > UINT64_MAX - collapsed)
        return 0;
    *pages = faulted + collapsed;
    return 1;
}

int mw_parse_pss(const char *text, size_t length, uint64_t *bytes) {
    /* Never in the first line, which has the addresses. */
    return kib_behind(text, length, "\nPss:", bytes);
}

int mw_parse_pss_anonymous(const char *text, size_t length, uint64_t *bytes) {
    return kib_behind(text, length, "\nPss_Anon:", bytes);
}

void mw_parse_pss_parts(const char *text, size_t length, uint64_t *shmem,
                        uint64_t *swapped, uint64_t *huge) {
    if (!kib_behind(text, length, "\nPss_Shmem:", shmem))
        *shmem = 0;
    if (!kib_behind(text, length, "\nSwapPss:", swapped))
        *swapped = 0;
    if (!kib_behind(text, length, "\nPrivate_Hugetlb:", huge))
        *huge = 0;
}

int mw_parse_available(const char *text, size_t length, uint64_t *bytes) {
    return kib_behind(text, length, "\nMemAvailable:", bytes);
}

int mw_parse_number(const char *text, size_t length, uint64_t *number) {
    const char *at = text, *end = text + length;
    return digits(&at, end, number) && at < end && *at == '\n';
}

int mw_parse_inactive_file(const char *text, size_t length, int version,
                           uint64_t *bytes) {
    const char *key =
        version == 1 ? "\ntotal_inactive_file " : "\ninactive_file ";
    return number_of(text, length, key, bytes);
}

int32_t mw_parse_tgid(const char *text, size_t length) {
    uint64_t value;
    return number_of(text, length, "\nTgid:", &value) ? as_pid(value) : 0;
}

int mw_parse_child(const char *text, size_t length, int last, size_t *offset,
                   int32_t *pid) {
    const char *end = text + length;
    const char *at = text + *offset;
    while (at < end && (*at == ' ' || *at == '\n'))
        at++;
    *offset = (size_t)(at - text);
    uint64_t value;
    if (!digits(&at, end, &value) || (at == end && !last))
        return 0;
    *pid = as_pid(value);
    if (!*pid)
        return 0;
    *offset = (size_t)(at - text);
    return 1;
}

int32_t mw_parse_pid(const char *name) {
    const char *at = name, *end = name + strlen(name);
    uint64_t value;
    /* No leading zeros: the kernel writes none, and a pid has one name. */
    if (*at == '0')
        return 0;
    return digits(&at, end, &value) && at == end ? as_pid(value) : 0;
}
