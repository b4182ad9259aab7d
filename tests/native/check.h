/* What the C tests share: a check that names itself when it fails, tables of
   cases, memory that ends exactly where the data does, and random numbers that
   repeat. */
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

/* One case of a test that runs the case which its command line names. */
typedef struct {
    const char *name;
    void (*run)(void);
} test_case;

/* Returns the index of the entry that has a name, which is the first member of
   each entry; ends the test if there is none. */
static inline size_t find_case(const void *table, size_t count, size_t size,
                               const char *name) {
    for (size_t i = 0; i < count; i++) {
        const char *entry = (const char *)table + i * size;
        if (!strcmp(*(const char *const *)(const void *)entry, name))
            return i;
    }
    fprintf(stderr, "no such case: %s\n", name);
    exit(2);
}

/* The entry of a table that has a name. */
#define FIND_CASE(table, name)                                                 \
    (&(table)[find_case(table, sizeof(table) / sizeof *(table),                \
                        sizeof *(table), name)])

/* Copies data so that its end is the end of the allocation, where a sanitizer
   sees the first byte read past it. Free the copy with exact_free(). */
static inline char *exact(const void *data, size_t length) {
    /* An empty copy begins at the end of its allocation. */
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
