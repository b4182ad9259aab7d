/*
 * A fuzz target as a program of its own, without libFuzzer: it mutates a corpus
 * a number of times, with the same result each time. A file that includes this
 * has defined LLVMFuzzerTestOneInput(), and TOKENS, strings to insert.
 */
#ifndef MW_TEST_MUTATE_H
#define MW_TEST_MUTATE_H

#include "check.h"

enum { MOST_SEEDS = 64, MOST_BYTES = 1024 };

typedef struct {
    uint8_t bytes[MOST_BYTES];
    size_t size;
} input;

static void insert(input *in, size_t at, const void *bytes, size_t size) {
    if (in->size + size > MOST_BYTES)
        return;
    memmove(in->bytes + at + size, in->bytes + at, in->size - at);
    memcpy(in->bytes + at, bytes, size);
    in->size += size;
}

static void erase(input *in, size_t at, size_t size) {
    memmove(in->bytes + at, in->bytes + at + size, in->size - at - size);
    in->size -= size;
}

static void mutate(input *in, const input *other, uint64_t *state) {
    size_t at = below(state, in->size + 1);
    const char *token = TOKENS[below(state, sizeof TOKENS / sizeof *TOKENS)];
    uint8_t byte = (uint8_t)next_random(state);
    switch (below(state, 6)) {
    case 0:
        if (at < in->size)
            in->bytes[at] = byte;
        break;
    case 1: insert(in, at, &byte, 1); break;
    case 2: insert(in, at, token, strlen(token)); break;
    case 3: erase(in, at, below(state, in->size - at + 1)); break;
    case 4: in->size = at; break;
    case 5: /* the rest of another input */
        in->size = at;
        if (at < other->size)
            insert(in, at, other->bytes + at, other->size - at);
        break;
    }
}

/* Arguments: the number of mutations, and the files to begin with. */
int main(int argc, char **argv) {
    static input seeds[MOST_SEEDS];
    size_t count = 0;
    CHECK(argc > 2);
    unsigned long count_of_mutations = strtoul(argv[1], NULL, 10);
    for (int i = 2; i < argc && count < MOST_SEEDS; i++) {
        FILE *file = fopen(argv[i], "rb");
        CHECK(file);
        seeds[count].size = fread(seeds[count].bytes, 1, MOST_BYTES, file);
        fclose(file);
        LLVMFuzzerTestOneInput(seeds[count].bytes, seeds[count].size);
        count++;
    }
    uint64_t state = 88172645463325252u;
    for (unsigned long i = 0; i < count_of_mutations; i++) {
        input in = seeds[below(&state, count)];
        for (size_t j = below(&state, 8) + 1; j > 0; j--)
            mutate(&in, &seeds[below(&state, count)], &state);
        LLVMFuzzerTestOneInput(in.bytes, in.size);
    }
    return 0;
}

#endif
