/* What the C tests share: a check that names itself when it fails, memory that
   ends exactly where the data does, and numbers that repeat. */
#ifndef MW_TEST_CHECK_H
#define MW_TEST_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__,         \
                    #condition);                                               \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

/* A copy whose end is the end of its allocation, so that a sanitizer sees the
   first byte read past it. Free it with exact_free(). */
static inline char *exact(const void *data, size_t length) {
    /* An empty copy begins at the end of an allocation. */
    char *memory = calloc(length ? length : 1, 1);
    CHECK(memory);
    if (length)
        memcpy(memory, data, length);
    return length ? memory : memory + 1;
}

static inline void exact_free(char *memory, size_t length) {
    free(length ? memory : memory - 1);
}

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static inline size_t below(uint64_t *state, size_t limit) {
    return (size_t)(next_random(state) >> 33) % limit;
}

#endif
