/*
 * A ring of records in memory that two processes share: one writes, the other
 * reads, and neither ever waits. Either may die at any instant: a record is
 * there as a whole, or not at all.
 */
#ifndef MW_LINUX_RING_H
#define MW_LINUX_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mw_ring {
    /* The writer's part and the reader's have a cache line each. Positions only
       grow, and wrap at 32 bits. */
    _Alignas(64) _Atomic uint32_t head; /* written so far */
    _Atomic uint32_t dropped;           /* records there was no room for */
    uint32_t capacity;
    _Alignas(64) _Atomic uint32_t tail; /* read so far */
    _Alignas(64) unsigned char bytes[];
} mw_ring;

/* Makes an empty ring. `capacity` is a power of two, at most 1 GiB, and the
   memory behind `ring` that much longer than an mw_ring. */
void mw_ring_init(mw_ring *ring, uint32_t capacity);

/* Writes one record, of two parts. Returns 1, or 0 if there is no room for it,
   and then counts it as dropped. */
int mw_ring_write(mw_ring *ring, const void *first, size_t first_length,
                  const void *second, size_t second_length);

/* Counts a record as dropped. */
void mw_ring_drop(mw_ring *ring);

/* Returns the oldest record, aligned for any type, and its length; NULL if
   there is none. The record stays until it is released. */
const void *mw_ring_peek(mw_ring *ring, size_t *length);
void mw_ring_release(mw_ring *ring);

uint32_t mw_ring_dropped(const mw_ring *ring);

#endif
