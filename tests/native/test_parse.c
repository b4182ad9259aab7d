/*
 * csrc/linux/parse.c on texts whose meaning is known, whole and cut after each
 * byte. Each text lies in memory of exactly its length.
 */
#include "parse.h"

#include <errno.h>
#include <limits.h>

#include "check.h"

/* --- stat --- */

/* Fields 4 to 28, each with a different value. */
#define NUMBERS                                                                \
    "41 52 63 74 -1 4194368 10 11 12 13 14 15 16 17 20 -19 3 0 222333 "        \
    "444555666 777 18446744073709551615 94 95 140736"

/* The fields after these, which are not read. */
#define TAIL " 0 0 0 0 0 0 17 1 0 0 0 0 0 96 97 98 99 100 101 102 0\n"

static int parse_stat(const char *text, size_t length, mw_stat *out) {
    char *copy = exact(text, length);
    int result = mw_parse_stat(copy, length, out);
    exact_free(copy, length);
    CHECK(result == 0 || result == -EINVAL || result == -ESRCH);
    return result;
}

static void check_numbers(const mw_stat *stat) {
    CHECK(stat->pid == 1234);
    CHECK(stat->state == 'S');
    CHECK(stat->ppid == 41);
    CHECK(stat->flags == 4194368);
    CHECK(stat->user_ticks == 14);
    CHECK(stat->system_ticks == 15);
    CHECK(stat->threads == 3);
    CHECK(stat->start_ticks == 222333);
    CHECK(stat->start_stack == 140736);
}

static void test_stat_names(void) {
    static const char *const names[] = {
        "cat",
        "",
        " ",
        ")",
        "(",
        "()",
        ")(",
        "a) R 1 (b",
        "):",
        "a\nb",
        "(sd-pam)",
        "((((((((((((((((",
        "))))))))))))))))",
        ") Z 0 0 0 0 0 ",
        "tmux: server",
        "\xff\xfe\x01",
        "kworker/u129:3+flush-btrfs-1-with-a-name-of-63-bytes-in-it-----",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[512];
        int length =
            snprintf(text, sizeof text, "1234 (%s) S " NUMBERS TAIL, names[i]);
        mw_stat stat;
        CHECK(!parse_stat(text, (size_t)length, &stat));
        CHECK(!strcmp(stat.comm, names[i]));
        check_numbers(&stat);

        /* A text is parsed right, or refused: never half of a number. */
        size_t complete = (size_t)length - strlen(TAIL) + 1;
        for (size_t cut = 0; cut < (size_t)length; cut++) {
            int result = parse_stat(text, cut, &stat);
            CHECK(result == (cut < complete ? -EINVAL : 0));
            if (!result) {
                CHECK(!strcmp(stat.comm, names[i]));
                check_numbers(&stat);
            }
        }
    }
}

static void test_stat_long_name(void) {
    char name[201], text[600];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    int length = snprintf(text, sizeof text, "1234 (%s) S " NUMBERS TAIL, name);
    mw_stat stat;
    CHECK(!parse_stat(text, (size_t)length, &stat));
    CHECK(strlen(stat.comm) == sizeof stat.comm - 1);
    CHECK(!strncmp(stat.comm, name, sizeof stat.comm - 1));
    check_numbers(&stat);
}

static void test_stat_end(void) {
    /* The last field that is read may be the last of all, if a character ends
       it. */
    mw_stat stat;
    CHECK(!parse_stat("1234 (x) S " NUMBERS "\n",
                      strlen("1234 (x) S " NUMBERS "\n"), &stat));
    check_numbers(&stat);
    CHECK(parse_stat("1234 (x) S " NUMBERS "x",
                     strlen("1234 (x) S " NUMBERS "x"), &stat) == -EINVAL);
}

static void test_stat_refused(void) {
    static const char *const texts[] = {
        "",
        "\n",
        "(",
        ")",
        "()",
        "x (y) S " NUMBERS TAIL,
        "1234",
        "1234 ",
        "1234 (",
        "1234 )",
        "1234 )(",
        "1234 )( S " NUMBERS TAIL,
        "1234 cat S " NUMBERS TAIL,
        "1234 (cat S " NUMBERS TAIL,
        "1234 cat) S " NUMBERS TAIL,
        "1234 (cat)",
        "1234 (cat) ",
        "1234 (cat)S " NUMBERS TAIL,
        "1234 (cat) S x" NUMBERS TAIL,
        "1234 (cat) S - " NUMBERS TAIL,
        "1234 (cat) S  " NUMBERS TAIL,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mw_stat stat;
        CHECK(parse_stat(texts[i], strlen(texts[i]), &stat) == -EINVAL);
    }
}

/* The text while a process is being released, seen on Linux 6.18. */
static void test_stat_released(void) {
    static const char text[] =
        "25782 (r) X 0 -1 -1 0 -1 4227148 0 0 0 0 0 0 0 0 20 0 0 0 3422916 0 0 "
        "0 0 0 0 0 0 0 0 0 0 1 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    mw_stat stat;
    CHECK(parse_stat(text, sizeof text - 1, &stat) == -ESRCH);
}

static void test_stat_huge(void) {
    static const char text[] =
        "99999999999 (x) R 2147483648 1 1 1 1 4294967296 0 0 0 0 0 0 0 0 0 0 "
        "18446744073709551615 0 99999999999999999999999 0 "
        "18446744073709551616 0 0 0 18446744073709551615\n";
    mw_stat stat;
    CHECK(!parse_stat(text, sizeof text - 1, &stat));
    CHECK(stat.pid == 0);  /* not a pid */
    CHECK(stat.ppid == 0); /* not a pid */
    CHECK(stat.flags == 0);
    CHECK(stat.threads == INT64_MAX);
    CHECK(stat.start_ticks == UINT64_MAX);
    CHECK(stat.start_stack == UINT64_MAX);
}

/* --- statm --- */

static int parse_statm(const char *text, size_t length, mw_statm *out) {
    char *copy = exact(text, length);
    int result = mw_parse_statm(copy, length, out);
    exact_free(copy, length);
    CHECK(result == 0 || result == -EINVAL);
    return result;
}

static void test_statm(void) {
    static const char text[] = "5034 1302 1173 19 0 331 0\n";
    const size_t complete = sizeof "5034 1302 1173 19 " - 1;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        mw_statm statm;
        int result = parse_statm(text, cut, &statm);
        CHECK(result == (cut < complete ? -EINVAL : 0));
        CHECK(result || (statm.size == 5034 && statm.resident == 1302 &&
                         statm.shared == 1173 && statm.text == 19));
    }
}

static void test_statm_edges(void) {
    static const struct {
        const char *text;
        int result;
        uint64_t size, resident, code;
    } cases[] = {
        {"0 0 0 0 0 0 0\n", 0, 0, 0, 0},
        {"1 2 3 4\n", 0, 1, 2, 4},
        {"18446744073709551615 18446744073709551614 0 18446744073709551616 0",
         0, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX},
        {"1 2 3 4", -EINVAL, 0, 0, 0},
        {"1 2 3 4x", -EINVAL, 0, 0, 0},
        {"1 2 3\n", -EINVAL, 0, 0, 0},
        {"1 2 x 4 \n", -EINVAL, 0, 0, 0},
        {"1\t2 3 4 \n", -EINVAL, 0, 0, 0},
        {"\n", -EINVAL, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mw_statm statm;
        int result = parse_statm(cases[i].text, strlen(cases[i].text), &statm);
        CHECK(result == cases[i].result);
        CHECK(result || (statm.size == cases[i].size &&
                         statm.resident == cases[i].resident &&
                         statm.text == cases[i].code));
    }
}

/* --- sizes in status and smaps_rollup --- */

typedef int size_parser(const char *text, size_t length, uint64_t *bytes);

typedef struct {
    const char *text;
    int found;
    uint64_t bytes;
} size_case;

static int parse_size(size_parser *parser, const char *text, size_t length,
                      uint64_t *bytes) {
    char *copy = exact(text, length);
    int found = parser(copy, length, bytes);
    exact_free(copy, length);
    CHECK(found == 0 || found == 1);
    return found;
}

/* Cuts a text after each byte: the size is found if the digits `number` and the
   character after them are there. */
static void check_cut_sizes(size_parser *parser, const char *text,
                            const char *number, uint64_t bytes) {
    const char *at = strstr(text, number);
    CHECK(at);
    const size_t complete = (size_t)(at - text) + strlen(number) + 1;
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        uint64_t got = 0;
        int found = parse_size(parser, text, cut, &got);
        CHECK(found == (cut >= complete));
        CHECK(!found || got == bytes);
    }
}

static void check_sizes(size_parser *parser, const size_case *cases,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = 0;
        int found =
            parse_size(parser, cases[i].text, strlen(cases[i].text), &bytes);
        CHECK(found == cases[i].found);
        CHECK(bytes == cases[i].bytes);
    }
}

static void test_watermark(void) {
    static const char text[] = "Name:\tcat\nVmPeak:\t  9999 kB\nVmLck:\t 0 kB\n"
                               "VmHWM:\t    5208 kB\nVmRSS:\t    5000 kB\n";
    check_cut_sizes(mw_parse_watermark, text, "5208", 5208 * 1024);
}

static void test_watermark_edges(void) {
    static const size_case cases[] = {
        {"", 0, 0},
        {"\n", 0, 0},
        {"\nVmHWM:", 0, 0},
        {"\nVmHWM:\n", 0, 0},
        {"\nVmHWM: 7", 0, 0},
        {"\nVmHWM:7\n", 1, 7168},
        {"\nVmHWM:\t0 kB\n", 1, 0},
        /* A zombie and a kernel thread have no such line. */
        {"Name:\tkthreadd\nState:\tS (sleeping)\nThreads:\t1\n", 0, 0},
        /* Other lines that look like it. */
        {"XVmHWM:\t1 kB\nVmHWM :\t2 kB\nVmHWM:\t3 kB\n", 1, 3072},
        {"Name:\tVmHWM:\t9 kB\nVmHWM:\t4 kB\n", 1, 4096},
        {"\n\n\n\nVmHWM:\t5 kB\n", 1, 5120},
        {"\nVmHW\nVmHWM:\t6 kB\n", 1, 6144},
        /* The largest size that fits 64 bits, and sizes that do not. */
        {"\nVmHWM: 18014398509481983 kB\n", 1, UINT64_MAX - 1023},
        {"\nVmHWM: 18014398509481984 kB\n", 0, 0},
        {"\nVmHWM: 99999999999999999999999999 kB\n", 0, 0},
        {"\nVmHWM: -5 kB\n", 0, 0},
    };
    check_sizes(mw_parse_watermark, cases, sizeof cases / sizeof *cases);
}

static void test_pss(void) {
    static const char text[] =
        "559118225000-7ffede946000 ---p 00000000 00:00 0        [rollup]\n"
        "Rss:                1696 kB\nPss:                 418 kB\n"
        "Pss_Dirty:           112 kB\nSwap:  3 kB\nSwapPss:  2 kB\n";
    check_cut_sizes(mw_parse_pss, text, "418", 418 * 1024);
}

static void test_pss_edges(void) {
    static const size_case cases[] = {
        {"", 0, 0},
        {"\nPss:", 0, 0},
        {"\nPss: 7", 0, 0},
        {"\nPss:7\n", 1, 7168},
        {"\nPss:\t0 kB\n", 1, 0},
        /* Other rows that look like it. */
        {"\nPss_Dirty: 1 kB\nPss_Anon: 2 kB\nSwapPss: 3 kB\n", 0, 0},
        {"\nSwapPss: 1 kB\nPss : 2 kB\nPss: 3 kB\n", 1, 3072},
        {"Pss: 1 kB\n", 0, 0},
        {"\nPss: -1 kB\n", 0, 0},
        {"\nPss: 18014398509481983 kB\n", 1, UINT64_MAX - 1023},
        {"\nPss: 18014398509481984 kB\n", 0, 0},
    };
    check_sizes(mw_parse_pss, cases, sizeof cases / sizeof *cases);
}

static void test_pss_anonymous(void) {
    static const char text[] = "... [rollup]\nPss:  418 kB\nPss_Dirty: 1 kB\n"
                               "Pss_Anon:     112 kB\nPss_File: 306 kB\n";
    check_cut_sizes(mw_parse_pss_anonymous, text, "112", 112 * 1024);
}

/* --- shared memory, swap and huge pages --- */

typedef struct {
    uint64_t shmem, swapped, huge;
} parts;

typedef int parts_parser(const char *text, size_t length, uint64_t *shmem,
                         uint64_t *swapped, uint64_t *huge);

/* That of `smaps_rollup`, which finds something in any text. */
static int pss_parts(const char *text, size_t length, uint64_t *shmem,
                     uint64_t *swapped, uint64_t *huge) {
    mw_parse_pss_parts(text, length, shmem, swapped, huge);
    return 1;
}

static int parse_parts(parts_parser *parser, const char *text, size_t length,
                       parts *out) {
    char *copy = exact(text, length);
    int found = parser(copy, length, &out->shmem, &out->swapped, &out->huge);
    exact_free(copy, length);
    CHECK(found == 0 || found == 1);
    return found;
}

typedef struct {
    const char *text;
    int found;
    parts is;
} parts_case;

/* What is not found is left as it was. */
static void check_parts(parts_parser *parser, const parts_case *cases,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        parts got = {1, 2, 3}, wanted = {1, 2, 3};
        if (cases[i].found)
            wanted = cases[i].is;
        CHECK(parse_parts(parser, cases[i].text, strlen(cases[i].text), &got) ==
              cases[i].found);
        CHECK(!memcmp(&got, &wanted, sizeof got));
    }
}

static void test_parts(void) {
    static const char text[] =
        "Name:\tcat\nVmRSS:\t 5000 kB\nRssAnon:\t 300 kB\nRssFile:\t 70 kB\n"
        "RssShmem:\t    4630 kB\nVmData:\t 1 kB\nVmSwap:\t  77 kB\n"
        "HugetlbPages:\t    2048 kB\nCoreDumping:\t0\nThreads:\t12\n"
        "SigQ:\t0/96364\n";
    const size_t complete = (size_t)(strstr(text, "12\n") - text);
    /* Never a part of them, nor a 0 for one that was cut off. */
    for (size_t cut = 0; cut < sizeof text; cut++) {
        parts got;
        CHECK(parse_parts(mw_parse_parts, text, cut, &got) ==
              (cut >= complete));
        CHECK(cut < complete ||
              (got.shmem == 4630 * 1024 && got.swapped == 77 * 1024 &&
               got.huge == 2048 * 1024));
    }
}

static void test_parts_edges(void) {
    static const parts_case cases[] = {
        {"", 0, {0}},
        {"\n", 0, {0}},
        {"\nThreads:\t1\n", 0, {0}},
        {"\nRssShmem:\t1 kB\n", 0, {0}},
        {"\nRssShmem:\t1 kB\nThreads:\t1\n", 1, {1024, 0, 0}},
        /* Linux < 4.5, which has no RssShmem. */
        {"\nVmRSS: 5 kB\nVmSwap: 1 kB\nThreads: 1\n", 0, {0}},
        /* A zombie and a kernel thread have no memory. */
        {"Name:\tkthreadd\nState:\tS (sleeping)\nThreads:\t1\n", 0, {0}},
        /* A kernel without swap, and one without huge pages. */
        {"\nRssShmem: 0 kB\nHugetlbPages: 4 kB\nThreads: 1\n", 1, {0, 0, 4096}},
        {"\nRssShmem: 2 kB\nVmSwap: 3 kB\nThreads: 1\n", 1, {2048, 3072, 0}},
        /* Lines that look like them. */
        {"XRssShmem: 1 kB\nRssShmem : 2 kB\nXVmSwap: 3 kB\nRssShmem: 4 kB\n"
         "VmSwap : 5 kB\nShared_HugetlbPages: 6 kB\nThreads: 1\n",
         1,
         {4096, 0, 0}},
        /* The largest size that fits 64 bits, and those that do not. */
        {"\nRssShmem: 18014398509481983 kB\nVmSwap: 18014398509481984 kB\n"
         "HugetlbPages: 99999999999999999999999 kB\nThreads: 1\n",
         1,
         {UINT64_MAX - 1023, 0, 0}},
        {"\nRssShmem: 18014398509481984 kB\nThreads: 1\n", 0, {0}},
        {"\nRssShmem: -1 kB\nThreads: 1\n", 0, {0}},
        {"\nRssShmem: 1 kB\nVmSwap: -1 kB\nThreads: 1\n", 1, {1024, 0, 0}},
    };
    check_parts(mw_parse_parts, cases, sizeof cases / sizeof *cases);
}

static void test_pss_parts(void) {
    static const char text[] =
        "... [rollup]\nPss:  418 kB\nPss_Anon: 1 kB\nPss_Shmem:  33 kB\n"
        "Shared_Hugetlb: 5 kB\nPrivate_Hugetlb:  2048 kB\nSwap: 9 kB\n"
        "SwapPss:  7 kB\nLocked: 0 kB\n";
    static const char *const numbers[] = {"33", "2048", "7 kB"};
    size_t complete[3];
    for (size_t i = 0; i < 3; i++)
        complete[i] = (size_t)(strstr(text, numbers[i]) - text) +
                      strspn(numbers[i], "0123456789") + 1;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        parts got;
        CHECK(parse_parts(pss_parts, text, cut, &got));
        CHECK(got.shmem == (cut >= complete[0] ? 33 * 1024 : 0));
        CHECK(got.huge == (cut >= complete[1] ? 2048 * 1024 : 0));
        CHECK(got.swapped == (cut >= complete[2] ? 7 * 1024 : 0));
    }
}

static void test_pss_parts_edges(void) {
    static const parts_case cases[] = {
        {"", 1, {0}},
        {"\nPss_Shmem:\nSwapPss:\nPrivate_Hugetlb:\n", 1, {0}},
        /* Linux 4.14, the first that has the file. */
        {"... [rollup]\nPss: 4 kB\nSwap: 3 kB\nSwapPss: 2 kB\n",
         1,
         {0, 2048, 0}},
        /* Rows that look like them. */
        {"\nShmemPmdMapped: 1 kB\nSwap: 2 kB\nShared_Hugetlb: 3 kB\n"
         "Pss_Shmem_: 4 kB\nXSwapPss: 5 kB\n",
         1,
         {0}},
        {"\nPss_Shmem: 18014398509481983 kB\nSwapPss: 18014398509481984 kB\n"
         "Private_Hugetlb: -1 kB\n",
         1,
         {UINT64_MAX - 1023, 0, 0}},
    };
    check_parts(pss_parts, cases, sizeof cases / sizeof *cases);
}

/* --- huge pages of the machine --- */

static void test_huge_pages(void) {
    static const char text[] =
        "MemTotal:  24683520 kB\nHugePages_Total:  8\nHugePages_Free: 8\n"
        "Hugepagesize:  2048 kB\nHugetlb:  16384 kB\nDirectMap4k: 1 kB\n";
    check_cut_sizes(mw_parse_huge_pages, text, "16384", 16384 * 1024);
    static const size_case cases[] = {
        {"", 0, 0},
        {"MemTotal: 5 kB\nHugetlb: 0 kB\n", 1, 0},
        /* Linux < 4.18, and a kernel without huge pages. */
        {"MemTotal: 5 kB\nHugePages_Total: 8\nHugepagesize: 4 kB\n", 0, 0},
        {"Hugetlb: 1 kB\n", 0, 0}, /* never in the first line */
        {"\nHugetlb: x kB\n", 0, 0},
        {"\nHugetlb: 18014398509481983 kB\n", 1, UINT64_MAX - 1023},
        {"\nHugetlb: 18014398509481984 kB\n", 0, 0},
    };
    check_sizes(mw_parse_huge_pages, cases, sizeof cases / sizeof *cases);
}

static void test_huge_faults(void) {
    static const char text[] =
        "nr_free_pages 1015666\nthp_fault_alloc 7000\nthp_fault_fallback 1\n"
        "thp_collapse_alloc 345\nthp_collapse_alloc_failed 2\n";
    check_cut_sizes(mw_parse_huge_faults, text, "345", 7345);
    static const size_case cases[] = {
        {"", 0, 0},
        /* A kernel without them. */
        {"nr_free_pages 5\npgfault 7\npgmajfault 1\n", 0, 0},
        /* Only one of the two. */
        {"\nthp_fault_alloc 5\nthp_split_page 1\n", 0, 0},
        {"\nthp_collapse_alloc 5\nthp_split_page 1\n", 0, 0},
        {"\nthp_fault_alloc 0\nthp_collapse_alloc 0\n", 1, 0},
        /* Rows that begin with the same words, before and after. */
        {"\nthp_fault_alloc_failed 1\nthp_collapse_alloc_failed 2\n", 0, 0},
        {"\nthp_collapse_alloc_failed 2\nthp_collapse_alloc 3\n"
         "thp_fault_alloc1 4\nthp_fault_alloc 5\n",
         1, 8},
        /* The largest sum that fits 64 bits, and one that does not. */
        {"\nthp_fault_alloc 18446744073709551614\nthp_collapse_alloc 1\n", 1,
         UINT64_MAX},
        {"\nthp_fault_alloc 18446744073709551615\nthp_collapse_alloc 1\n", 0,
         0},
        {"\nthp_fault_alloc -1\nthp_collapse_alloc 1\n", 0, 0},
    };
    check_sizes(mw_parse_huge_faults, cases, sizeof cases / sizeof *cases);
}

/* --- memory that is available --- */

static void test_available(void) {
    static const char text[] = "MemTotal:  24683520 kB\nMemFree: 1 kB\n"
                               "MemAvailable:   23363584 kB\nBuffers: 2 kB\n";
    check_cut_sizes(mw_parse_available, text, "23363584", 23363584ull * 1024);
    static const size_case cases[] = {
        {"MemTotal: 5 kB\nMemFree: 1 kB\n", 0, 0}, /* Linux < 3.14 */
        {"\nMemAvailable: x kB\n", 0, 0},
    };
    check_sizes(mw_parse_available, cases, sizeof cases / sizeof *cases);
}

static void test_number(void) {
    static const size_case cases[] = {
        {"", 0, 0},
        {"\n", 0, 0},
        {"12", 0, 12},
        {"max\n", 0, 0},
        {"0\n", 1, 0},
        {"12 \n", 0, 12},
        {"123\n", 1, 123},
        {"-1\n", 0, 0},
        {"18446744073709551615\n", 1, UINT64_MAX},
        {"99999999999999999999999\n", 1, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t number = 0;
        size_t length = strlen(cases[i].text);
        CHECK(parse_size(mw_parse_number, cases[i].text, length, &number) ==
              cases[i].found);
        CHECK(!cases[i].found || number == cases[i].bytes);
    }
}

static int inactive_file_1(const char *text, size_t length, uint64_t *bytes) {
    return mw_parse_inactive_file(text, length, 1, bytes);
}

static int inactive_file_2(const char *text, size_t length, uint64_t *bytes) {
    return mw_parse_inactive_file(text, length, 2, bytes);
}

static void test_inactive_file(void) {
    static const size_case none[] = {
        {"", 0, 0},
        /* The other version's. */
        {"anon 1\ntotal_inactive_file 2\n", 0, 0},
        /* Rows that look like it. */
        {"anon 1\ninactive_file_ 2\nworkingset_inactive_file 3\n", 0, 0},
        {"anon 1\ninactive_file -1\n", 0, 0},
        {"anon 1\ninactive_file 0\n", 1, 0},
        {"anon 1\ninactive_file 18446744073709551615\n", 1, UINT64_MAX},
        {"anon 1\ninactive_file 18446744073709551616\n", 1, UINT64_MAX},
    };
    check_sizes(inactive_file_2, none, sizeof none / sizeof *none);
    uint64_t bytes;
    static const char other[] = "anon 1\ninactive_file 4096\n";
    CHECK(!parse_size(inactive_file_1, other, sizeof other - 1, &bytes));
    static const char v2[] = "anon 1\nfile 2\ninactive_anon 3\n"
                             "inactive_file 4096\nactive_file 5\n";
    static const char v1[] = "cache 1\ninactive_file 2\nactive_file 3\n"
                             "total_cache 4\ntotal_inactive_file 8192\n";
    check_cut_sizes(inactive_file_2, v2, "4096", 4096);
    check_cut_sizes(inactive_file_1, v1, "8192", 8192);
}

/* --- the rest of status --- */

static int32_t parse_tgid(const char *text) {
    size_t length = strlen(text);
    char *copy = exact(text, length);
    int32_t pid = mw_parse_tgid(copy, length);
    exact_free(copy, length);
    return pid;
}

static void test_tgid(void) {
    static const struct {
        const char *text;
        int32_t pid;
    } cases[] = {
        {"", 0},
        {"Name:\tcat\nState:\tS (sleeping)\nTgid:\t4711\nPid:\t4712\n", 4711},
        {"Name:\tTgid:\t1\nTgid:\t2\n", 2},
        {"\nNStgid:\t3\nTgid:\t4\n", 4},
        {"\nTgid:\t5", 0},
        {"\nTgid:\t\n", 0},
        {"\nTgid:\t-6\n", 0},
        {"\nTgid:\t2147483647\n", INT32_MAX},
        {"\nTgid:\t2147483648\n", 0},
        {"\nTgid:\t18446744073709551617\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(parse_tgid(cases[i].text) == cases[i].pid);
}

/* --- children --- */

/* Parses every pid of a list; `*used` is where it stopped. */
static size_t parse_children(const char *text, size_t length, int last,
                             int32_t *pids, size_t most, size_t *used) {
    char *copy = exact(text, length);
    size_t count = 0, before = 0;
    *used = 0;
    while (count < most &&
           mw_parse_child(copy, length, last, used, &pids[count])) {
        CHECK(*used > before && *used <= length);
        before = *used;
        count++;
    }
    CHECK(*used <= length);
    exact_free(copy, length);
    return count;
}

static void test_children(void) {
    static const struct {
        const char *text;
        int last;
        size_t count;
        int32_t pids[4];
    } cases[] = {
        {"", 1, 0, {0}},
        {"\n", 1, 0, {0}},
        {"   ", 1, 0, {0}},
        {"17 18 19 ", 1, 3, {17, 18, 19}},
        {"17 18 19", 1, 3, {17, 18, 19}},
        /* If more follows, the last number may be cut. */
        {"17 18 19", 0, 2, {17, 18}},
        {"17 18 19 ", 0, 3, {17, 18, 19}},
        {" 17\n18\n", 1, 2, {17, 18}},
        {"2147483647 2147483648 5 ", 1, 1, {2147483647}},
        {"7 0 8 ", 1, 1, {7}},
        {"7 x 8 ", 1, 1, {7}},
        {"7 -8 9 ", 1, 1, {7}},
        {"99999999999999999999 ", 1, 0, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t pids[8];
        size_t used;
        size_t count = parse_children(cases[i].text, strlen(cases[i].text),
                                      cases[i].last, pids, 8, &used);
        CHECK(count == cases[i].count);
        CHECK(!memcmp(pids, cases[i].pids, count * sizeof *pids));
    }
}

/* A list read through a buffer of any size gives the same pids. */
static void test_children_cut(void) {
    char text[256];
    size_t length = 0;
    int32_t expected[24];
    for (size_t i = 0; i < 24; i++) {
        expected[i] = (int32_t)(i % 3 == 0 ? i + 1 : i * 99999 + 7);
        length += (size_t)snprintf(text + length, sizeof text - length, "%d ",
                                   expected[i]);
    }
    /* Room for the longest number, the space before it, and one after. */
    for (size_t room = 12; room <= length + 1; room++) {
        int32_t pids[32];
        size_t count = 0, at = 0, used;
        do {
            size_t n = length - at < room ? length - at : room;
            count += parse_children(text + at, n, n < room, pids + count,
                                    32 - count, &used);
            at += used;
        } while (used && at < length);
        CHECK(count == 24);
        CHECK(!memcmp(pids, expected, sizeof expected));
    }
    /* Every prefix gives a prefix of the pids. */
    for (size_t cut = 0; cut <= length; cut++) {
        int32_t pids[32];
        size_t used;
        size_t count = parse_children(text, cut, 0, pids, 32, &used);
        CHECK(count <= 24);
        CHECK(!memcmp(pids, expected, count * sizeof *pids));
    }
}

/* --- names of directories --- */

static void test_pid(void) {
    static const struct {
        const char *name;
        int32_t pid;
    } cases[] = {
        {"1", 1},
        {"42", 42},
        {"4194304", 4194304},
        {"2147483647", INT32_MAX},
        {"2147483648", 0},
        {"18446744073709551617", 0},
        {"99999999999999999999999", 0},
        {"", 0},
        {"0", 0},
        {".", 0},
        {"..", 0},
        {"self", 0},
        {"thread-self", 0},
        {"1a", 0},
        {"a1", 0},
        {" 1", 0},
        {"1 ", 0},
        {"-1", 0},
        {"+1", 0},
        {"1\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(cases[i].name) + 1;
        char *copy = exact(cases[i].name, length);
        CHECK(mw_parse_pid(copy) == cases[i].pid);
        exact_free(copy, length);
    }
}

/* The kernel writes no leading zeros, and takes none (name_to_int). Callers
   count on it: such a name is at most ten bytes long. */
static void test_pid_leading_zeros(void) {
    CHECK(mw_parse_pid("01") == 0);
    CHECK(mw_parse_pid("00000000000000000000000000000000000000000001") == 0);
}

int main(void) {
    test_stat_names();
    test_stat_long_name();
    test_stat_end();
    test_stat_refused();
    test_stat_released();
    test_stat_huge();
    test_statm();
    test_statm_edges();
    test_pss_anonymous();
    test_parts();
    test_parts_edges();
    test_pss_parts();
    test_pss_parts_edges();
    test_huge_pages();
    test_huge_faults();
    test_available();
    test_number();
    test_inactive_file();
    test_watermark();
    test_watermark_edges();
    test_pss();
    test_pss_edges();
    test_tgid();
    test_children();
    test_children_cut();
    test_pid();
    test_pid_leading_zeros();
    return 0;
}
