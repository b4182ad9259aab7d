/* The ring of records in shared memory. */
#include "ring.h"

#include <string.h>

/*
 * A record is its length, padding, its bytes, padding, in one piece. If it does
 * not fit before the end of the ring, SKIP stands there instead of a length,
 * and the record is at the beginning.
 */
enum { ALIGNMENT = 16 };

static const uint32_t SKIP = UINT32_MAX;

static uint32_t room_of(size_t length) {
    return (uint32_t)(ALIGNMENT +
                      (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

static uint32_t length_at(const mw_ring *ring, uint32_t at) {
    uint32_t length;
    memcpy(&length, ring->bytes + at, sizeof length);
    return length;
}

static void set_length(mw_ring *ring, uint32_t at, uint32_t length) {
    memcpy(ring->bytes + at, &length, sizeof length);
}

void mw_ring_init(mw_ring *ring, uint32_t capacity) {
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->dropped, 0);
    ring->capacity = capacity;
}

void mw_ring_drop(mw_ring *ring) {
    atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
}

static int drop(mw_ring *ring) {
    mw_ring_drop(ring);
    return 0;
}

int mw_ring_write(mw_ring *ring, const void *first, size_t first_length,
                  const void *second, size_t second_length) {
    /* Each length is checked first, so that their sum cannot overflow. */
    if (first_length >= ring->capacity || second_length >= ring->capacity)
        return drop(ring);
    size_t length = first_length + second_length;
    uint32_t needed = room_of(length);
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint32_t at = head & (ring->capacity - 1);
    uint32_t to_end = ring->capacity - at;
    uint32_t skipped = needed > to_end ? to_end : 0;
    if (needed > ring->capacity ||
        (uint64_t)skipped + needed > ring->capacity - (head - tail))
        return drop(ring);
    if (skipped) {
        set_length(ring, at, SKIP);
        at = 0;
    }
    set_length(ring, at, (uint32_t)length);
    unsigned char *to = ring->bytes + at + ALIGNMENT;
    if (first_length)
        memcpy(to, first, first_length);
    if (second_length)
        memcpy(to + first_length, second, second_length);
    atomic_store_explicit(&ring->head, head + skipped + needed,
                          memory_order_release);
    return 1;
}

const void *mw_ring_peek(mw_ring *ring, size_t *length) {
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&ring->head, memory_order_acquire))
        return NULL;
    uint32_t at = tail & (ring->capacity - 1);
    if (length_at(ring, at) == SKIP) {
        /* The record at the beginning was published together with the SKIP. */
        atomic_store_explicit(&ring->tail, tail + ring->capacity - at,
                              memory_order_release);
        at = 0;
    }
    *length = length_at(ring, at);
    return ring->bytes + at + ALIGNMENT;
}

void mw_ring_release(mw_ring *ring) {
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t length = length_at(ring, tail & (ring->capacity - 1));
    atomic_store_explicit(&ring->tail, tail + room_of(length),
                          memory_order_release);
}

uint32_t mw_ring_dropped(const mw_ring *ring) {
    return atomic_load_explicit(&ring->dropped, memory_order_relaxed);
}
