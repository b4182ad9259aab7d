/*
 * Every parser of csrc/linux/parse.c on any bytes: libFuzzer's entry point, and
 * with -DSTANDALONE a program of its own that mutates a corpus a number of
 * times, with the same result each time.
 */
#include "parse.h"

#include <errno.h>
#include <limits.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_stat(const char *text, size_t length) {
    mw_stat stat;
    int result = mw_parse_stat(text, length, &stat);
    CHECK(result == 0 || result == -EINVAL || result == -ESRCH);
    if (result)
        return;
    CHECK(stat.pid >= 0 && stat.ppid >= 0 && stat.threads > 0);
    CHECK(memchr(stat.comm, '\0', sizeof stat.comm));
    CHECK(length && memchr(text, ')', length));
}

static void fuzz_statm(const char *text, size_t length) {
    mw_statm statm, again;
    int result = mw_parse_statm(text, length, &statm);
    CHECK(result == 0 || result == -EINVAL);
    /* A text that is cut is refused, or gives the same. */
    if (!result && !mw_parse_statm(text, length - 1, &again))
        CHECK(statm.size == again.size && statm.resident == again.resident &&
              statm.text == again.text);
}

/* Some size in KiB: it is found, in bytes, or nothing is written. */
static void fuzz_size(const char *text, size_t length,
                      int parser(const char *, size_t, uint64_t *)) {
    uint64_t bytes = 1;
    int found = parser(text, length, &bytes);
    CHECK(found == 0 || found == 1);
    CHECK(found ? bytes % 1024 == 0 : bytes == 1);
}

static void fuzz_parts(const char *text, size_t length) {
    uint64_t shmem = 1, swapped = 1, huge = 1;
    int found = mw_parse_parts(text, length, &shmem, &swapped, &huge);
    CHECK(found == 0 || found == 1);
    if (!found) {
        CHECK(shmem == 1 && swapped == 1 && huge == 1);
        return;
    }
    CHECK((shmem | swapped | huge) % 1024 == 0);
    /* A text that is cut gives the same, or nothing. */
    uint64_t again[3];
    if (mw_parse_parts(text, length - 1, &again[0], &again[1], &again[2]))
        CHECK(again[0] == shmem && again[1] == swapped && again[2] == huge);
}

static void fuzz_pss_parts(const char *text, size_t length) {
    uint64_t shmem = 1, swapped = 1, huge = 1;
    mw_parse_pss_parts(text, length, &shmem, &swapped, &huge);
    CHECK((shmem | swapped | huge) % 1024 == 0);
}

static void fuzz_huge_faults(const char *text, size_t length) {
    uint64_t pages = 1, again;
    int found = mw_parse_huge_faults(text, length, &pages);
    CHECK(found == 0 || found == 1);
    if (!found)
        CHECK(pages == 1);
    else if (mw_parse_huge_faults(text, length - 1, &again))
        CHECK(again == pages);
}

static void fuzz_groups(const char *text, size_t length) {
    uint64_t number;
    for (int version = 1; version <= 2; version++) {
        int found = mw_parse_inactive_file(text, length, version, &number);
        CHECK(found == 0 || found == 1);
    }
    int found = mw_parse_number(text, length, &number);
    CHECK(found == 0 || (found == 1 && length && memchr(text, '\n', length)));
}

static void fuzz_tgid(const char *text, size_t length) {
    int32_t pid = mw_parse_tgid(text, length);
    CHECK(pid >= 0);
    /* A text that is cut gives the same, or nothing. */
    if (length) {
        int32_t again = mw_parse_tgid(text, length - 1);
        CHECK(!again || again == pid);
    }
}

static void fuzz_children(const char *text, size_t length, int last) {
    size_t offset = 0, before = 0;
    int32_t pid = 0;
    while (mw_parse_child(text, length, last, &offset, &pid)) {
        CHECK(pid > 0);
        CHECK(offset > before && offset <= length);
        before = offset;
    }
    CHECK(offset >= before && offset <= length);
}

/* Computes in a slow way what mw_parse_pid() should return. */
static int32_t expected_pid(const char *name) {
    if (!*name || strspn(name, "0123456789") != strlen(name) || *name == '0')
        return 0;
    errno = 0;
    long long value = strtoll(name, NULL, 10);
    return !errno && value <= INT32_MAX ? (int32_t)value : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = exact(data, size);
    fuzz_stat(text, size);
    fuzz_statm(text, size);
    fuzz_size(text, size, mw_parse_watermark);
    fuzz_size(text, size, mw_parse_huge_pages);
    fuzz_size(text, size, mw_parse_pss);
    fuzz_size(text, size, mw_parse_pss_anonymous);
    fuzz_size(text, size, mw_parse_available);
    fuzz_parts(text, size);
    fuzz_pss_parts(text, size);
    fuzz_huge_faults(text, size);
    fuzz_groups(text, size);
    fuzz_tgid(text, size);
    fuzz_children(text, size, 0);
    fuzz_children(text, size, 1);
    exact_free(text, size);

    char *name = malloc(size + 1);
    CHECK(name);
    if (size)
        memcpy(name, data, size);
    name[size] = '\0';
    CHECK(mw_parse_pid(name) == expected_pid(name));
    free(name);
    return 0;
}

#ifdef STANDALONE

static const char *const TOKENS[] = {
    "(",
    ")",
    " ",
    "\n",
    "-",
    "0",
    "9",
    "\nVmHWM:",
    "18446744073709551616",
    "\nTgid:\t",
    "\nPss:",
    "\nPss_Anon:",
    "\nPss_Shmem:",
    "\nSwapPss:",
    "\nPrivate_Hugetlb:",
    "\nRssShmem:",
    "\nVmSwap:",
    "\nHugetlbPages:",
    "\nThreads:\t",
    "\nMemAvailable:",
    "\nHugetlb:",
    "\nthp_fault_alloc ",
    "\nthp_collapse_alloc ",
    "\ninactive_file ",
    "\ntotal_inactive_file ",
    "2147483648",
    ") S 1 ",
    "99999999999999999999",
};

#include "mutate.h"

#endif
