/*
 * Every parser of csrc/linux/messages.c on any bytes: libFuzzer's entry point,
 * and with -DSTANDALONE a program of its own that mutates messages made by hand
 * a number of times, with the same result each time.
 */
#include "messages.h"

#include <errno.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(int result, const mw_message *m, const char *data,
                          size_t size) {
    CHECK(result == 0 || result == -EINVAL);
    if (result) {
        CHECK(!m->event.kind && !m->lost);
        return;
    }
    CHECK(m->event.kind <= MW_EVENT_RECORD);
    CHECK(!(m->event.valid &
            ~(uint32_t)(MW_INHERITED | MW_HAS_STATUS | MW_HAS_CPU | MW_HAS_IO |
                        MW_HAS_WATERMARK | MW_HAS_FAULTS)));
    if (m->name)
        CHECK(m->name >= data && m->name_length <= size &&
              m->name + m->name_length <= data + size &&
              !memchr(m->name, '\0', m->name_length));
    else
        CHECK(!m->name_length);
}

static void fuzz_connector(const char *data, size_t size) {
    mw_message m;
    check_message(mw_parse_connector(data, size, &m), &m, data, size);
    uint32_t ack;
    int error;
    if (mw_parse_connector_ack(data, size, &ack, &error))
        CHECK(!m.event.kind);
}

static void fuzz_taskstats(const char *data, size_t size) {
    mw_message m;
    int result = mw_parse_taskstats(data, size, &m);
    check_message(result, &m, data, size);
    CHECK(result || (m.event.kind == MW_EVENT_RECORD && m.name));
    uint16_t family;
    mw_parse_family(data, size, &family);
}

static void fuzz_perf(char *data, size_t size) {
    mw_message m;
    check_message(mw_parse_perf(data, size, &m), &m, data, size);
    /* Once more with the only size in the header that is accepted. */
    uint16_t claimed = (uint16_t)size;
    if (size < 8 || size > UINT16_MAX)
        return;
    memcpy(data + 6, &claimed, sizeof claimed);
    check_message(mw_parse_perf(data, size, &m), &m, data, size);
}

typedef int part_parser(const char *, size_t, size_t *, mw_part *);

static void fuzz_parts(part_parser *next, const char *data, size_t size) {
    size_t offset = 0, before = 0;
    mw_part part;
    while (next(data, size, &offset, &part)) {
        CHECK(offset > before && offset <= size);
        CHECK(part.data >= data && part.length <= size &&
              part.data + part.length <= data + size);
        before = offset;
    }
    CHECK(offset == before);
}

static void fuzz_cpus(const char *data, size_t size) {
    size_t offset = 0, before = 0;
    int first, last;
    while (mw_parse_cpus(data, size, &offset, &first, &last)) {
        CHECK(0 <= first && first <= last);
        CHECK(offset > before && offset <= size);
        before = offset;
    }
    CHECK(offset == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = exact(data, size);
    fuzz_connector(copy, size);
    fuzz_taskstats(copy, size);
    fuzz_parts(mw_parse_netlink, copy, size);
    fuzz_parts(mw_parse_attribute, copy, size);
    fuzz_cpus(copy, size);
    fuzz_perf(copy, size); /* the last one: it writes */
    exact_free(copy, size);
    return 0;
}

#ifdef STANDALONE

enum { SEEDS = 4, MOST_BYTES = 512 };

typedef struct {
    uint8_t bytes[MOST_BYTES];
    size_t size;
} input;

static void set32(input *in, size_t at, uint32_t value) {
    memcpy(in->bytes + at, &value, sizeof value);
}

static void set16(input *in, size_t at, uint16_t value) {
    memcpy(in->bytes + at, &value, sizeof value);
}

/* Makes a fork of the connector, a record of taskstats, an exec of perf, and a
   list of processors. */
static void make_seeds(input *seeds) {
    memset(seeds, 0, SEEDS * sizeof *seeds);
    seeds[0].size = 60;
    set32(&seeds[0], 0, 1);
    set32(&seeds[0], 4, 1);
    set32(&seeds[0], 20, 1);
    seeds[1].size = 4 + 4 + 8 + 4 + 416;
    set16(&seeds[1], 4, 4 + 8 + 4 + 416);
    set16(&seeds[1], 6, 4);
    set16(&seeds[1], 8, 8);
    set16(&seeds[1], 10, 1);
    set32(&seeds[1], 12, 77);
    set16(&seeds[1], 16, 4 + 416);
    set16(&seeds[1], 18, 3);
    set16(&seeds[1], 20, 13);
    set32(&seeds[1], 20 + 128, 77);
    seeds[2].size = 48;
    set32(&seeds[2], 0, 3);
    set16(&seeds[2], 4, 1 << 13);
    set16(&seeds[2], 6, 48);
    set32(&seeds[2], 8, 77);
    memcpy(seeds[2].bytes + 16, "cc1", 3);
    seeds[3].size = 11;
    memcpy(seeds[3].bytes, "0-3,7,10-11", 11);
}

static const uint32_t NUMBERS[] = {
    0, 1, 2, 3, 4, 7, 15, 77, 0x80000000, 0x7fffffff, 0xffffffff, 416};

static void mutate(input *in, uint64_t *state) {
    size_t at = below(state, in->size + 1);
    uint32_t number = NUMBERS[below(state, sizeof NUMBERS / sizeof *NUMBERS)];
    switch (below(state, 4)) {
    case 0:
        if (at < in->size)
            in->bytes[at] = (uint8_t)next_random(state);
        break;
    case 1:
        if (at / 4 * 4 + 4 <= in->size)
            set32(in, at / 4 * 4, number);
        break;
    case 2: in->size = at; break;
    case 3:
        if (in->size + 8 <= MOST_BYTES) {
            memmove(in->bytes + at + 8, in->bytes + at, in->size - at);
            in->size += 8;
        }
        break;
    }
}

/* Argument: the number of mutations. */
int main(int argc, char **argv) {
    static input seeds[SEEDS];
    CHECK(argc == 2);
    unsigned long count = strtoul(argv[1], NULL, 10);
    make_seeds(seeds);
    for (size_t i = 0; i < SEEDS; i++)
        LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].size);
    mw_message m; /* the seeds are what they are meant to be */
    CHECK(!mw_parse_connector((char *)seeds[0].bytes, seeds[0].size, &m) &&
          m.event.kind == MW_EVENT_FORK);
    CHECK(!mw_parse_taskstats((char *)seeds[1].bytes, seeds[1].size, &m) &&
          m.event.kind == MW_EVENT_RECORD);
    CHECK(!mw_parse_perf((char *)seeds[2].bytes, seeds[2].size, &m) &&
          m.event.kind == MW_EVENT_EXEC && m.name_length == 3);
    uint64_t state = 88172645463325252u;
    for (unsigned long i = 0; i < count; i++) {
        input in = seeds[below(&state, SEEDS)];
        for (size_t j = below(&state, 6) + 1; j > 0; j--)
            mutate(&in, &state);
        LLVMFuzzerTestOneInput(in.bytes, in.size);
    }
    return 0;
}

#endif
