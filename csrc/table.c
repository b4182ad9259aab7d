/* The hash from pid to slot: open addressing with linear probing, at most half
   full. */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const size_t FIRST_CAPACITY = 64;

/* Returns the first bucket of a pid. */
static size_t home(const mw_table *table, int32_t pid) {
    /* Pids come in runs: multiply to spread them (Knuth's constant). */
    return ((uint32_t)pid * 2654435769u) & table->bucket_mask;
}

ptrdiff_t mw_table_find(const mw_table *table, int32_t pid) {
    if (!table->buckets)
        return -1;
    for (size_t b = home(table, pid); table->buckets[b];
         b = (b + 1) & table->bucket_mask) {
        uint32_t index = table->buckets[b] - 1;
        if (table->slots[index].pid == pid)
            return (ptrdiff_t)index;
    }
    return -1;
}

static void insert(mw_table *table, size_t index) {
    size_t b = home(table, table->slots[index].pid);
    while (table->buckets[b])
        b = (b + 1) & table->bucket_mask;
    table->buckets[b] = (uint32_t)index + 1;
}

static int grow(mw_table *table) {
    size_t capacity = table->capacity ? table->capacity * 2 : FIRST_CAPACITY;
    mw_slot *slots = realloc(table->slots, capacity * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    table->slots = slots;
    uint32_t *buckets = calloc(capacity * 2, sizeof *buckets);
    if (!buckets)
        return -ENOMEM;
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_mask = capacity * 2 - 1;
    table->capacity = capacity;
    for (size_t i = 0; i < table->count; i++)
        insert(table, i);
    return 0;
}

int mw_table_add(mw_table *table, int32_t pid, mw_slot **out) {
    if (table->count == table->capacity) {
        int error = grow(table);
        if (error)
            return error;
    }
    mw_slot *slot = &table->slots[table->count];
    memset(slot, 0, sizeof *slot);
    slot->pid = pid;
    insert(table, table->count++);
    *out = slot;
    return 0;
}

/* Returns the bucket that holds `index`, which is in the table. */
static size_t bucket_of(const mw_table *table, size_t index) {
    size_t b = home(table, table->slots[index].pid);
    while (table->buckets[b] != (uint32_t)index + 1)
        b = (b + 1) & table->bucket_mask;
    return b;
}

void mw_table_remove(mw_table *table, size_t index) {
    size_t hole = bucket_of(table, index);
    /* Close the hole: move back the entries that were probed past it. */
    for (size_t b = (hole + 1) & table->bucket_mask; table->buckets[b];
         b = (b + 1) & table->bucket_mask) {
        size_t want = home(table, table->slots[table->buckets[b] - 1].pid);
        if (((b - want) & table->bucket_mask) >=
            ((b - hole) & table->bucket_mask)) {
            table->buckets[hole] = table->buckets[b];
            hole = b;
        }
    }
    table->buckets[hole] = 0;

    size_t last = table->count - 1;
    if (index != last) {
        table->buckets[bucket_of(table, last)] = (uint32_t)index + 1;
        table->slots[index] = table->slots[last];
    }
    table->count = last;
}

void mw_table_free(mw_table *table) {
    free(table->slots);
    free(table->buckets);
    memset(table, 0, sizeof *table);
}
