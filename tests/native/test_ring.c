/*
 * The ring, compared with a plain queue, with records of every length at every
 * place; and with a writer and a reader at the same time.
 *
 *     test_ring alone | together
 */
#include "ring.h"

#include <pthread.h>
#include <sched.h>

#include "check.h"

static mw_ring *new_ring(uint32_t capacity) {
    mw_ring *ring =
        aligned_alloc(_Alignof(mw_ring), sizeof(mw_ring) + capacity);
    CHECK(ring);
    mw_ring_init(ring, capacity);
    return ring;
}

/* Returns the length of record `number`. Its bytes count on from `number`. */
static size_t length_of(uint64_t number, size_t longest) {
    uint64_t state = number * 2654435761u + 1;
    next_random(&state);
    return below(&state, longest + 1);
}

static void fill(unsigned char *bytes, uint64_t number, size_t length) {
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(number + i);
}

/* Writes a record in two parts. */
static int write_record(mw_ring *ring, uint64_t number, size_t longest) {
    size_t length = length_of(number, longest);
    size_t cut = length ? number % (length + 1) : 0;
    unsigned char *bytes = malloc(length ? length : 1);
    CHECK(bytes);
    fill(bytes, number, length);
    int written = mw_ring_write(ring, bytes, cut, bytes + cut, length - cut);
    free(bytes);
    return written;
}

static int read_record(mw_ring *ring, uint64_t number, size_t longest) {
    size_t length;
    const unsigned char *bytes = mw_ring_peek(ring, &length);
    if (!bytes)
        return 0;
    CHECK((uintptr_t)bytes % 16 == 0);
    CHECK(length == length_of(number, longest));
    for (size_t i = 0; i < length; i++)
        CHECK(bytes[i] == (unsigned char)(number + i));
    mw_ring_release(ring);
    return 1;
}

/* Writes and reads at random. A record that was dropped is not expected
   later. */
static void check_alone(uint32_t capacity, size_t longest, uint64_t seed) {
    enum { ROUNDS = 20000, MOST = ROUNDS };
    static uint64_t queue[MOST];
    mw_ring *ring = new_ring(capacity);
    size_t head = 0, tail = 0;
    uint32_t dropped = 0;
    size_t held = 0;
    for (uint64_t number = 0; number < ROUNDS; number++) {
        /* Mostly writes, then mostly reads, so that it is full and empty at
           times. */
        if (next_random(&seed) >> 60 < (number / 64 % 2 ? 12 : 4)) {
            if (write_record(ring, number, longest)) {
                queue[head++] = number;
                held += length_of(number, longest) + 32;
            } else {
                dropped++;
                /* At most half of the ring is lost to a gap at its end. */
                CHECK(held + 2 * (longest + 32) > capacity);
            }
        } else if (head > tail) {
            CHECK(read_record(ring, queue[tail], longest));
            held -= length_of(queue[tail++], longest) + 32;
        } else {
            size_t length;
            CHECK(!mw_ring_peek(ring, &length));
        }
        CHECK(mw_ring_dropped(ring) == dropped);
    }
    while (tail < head)
        CHECK(read_record(ring, queue[tail++], longest));
    CHECK(!read_record(ring, 0, longest));
    CHECK(head > 1000);
    free(ring);
}

/* Every record that fits is taken, and none that does not. */
static void check_limits(void) {
    enum { CAPACITY = 1024 };
    static unsigned char bytes[CAPACITY + 64];
    for (size_t length = 0; length < sizeof bytes; length++) {
        mw_ring *ring = new_ring(CAPACITY);
        int fits = length <= CAPACITY - 16;
        CHECK(mw_ring_write(ring, bytes, length, NULL, 0) == fits);
        CHECK(mw_ring_write(ring, NULL, 0, bytes, length) ==
              (length <= CAPACITY / 2 - 16));
        size_t got;
        CHECK(!fits || (mw_ring_peek(ring, &got) && got == length));
        free(ring);
    }
    mw_ring *ring = new_ring(CAPACITY);
    CHECK(!mw_ring_write(ring, bytes, SIZE_MAX, bytes, 16));
    CHECK(!mw_ring_write(ring, bytes, 16, bytes, SIZE_MAX - 8));
    mw_ring_drop(ring);
    CHECK(mw_ring_dropped(ring) == 3);
    free(ring);
}

/* Positions wrap at 32 bits. */
static void check_wrap(void) {
    enum { CAPACITY = 4096, LONGEST = 700 };
    mw_ring *ring = new_ring(CAPACITY);
    uint32_t begin = UINT32_MAX - 8 * CAPACITY + 1;
    atomic_store(&ring->head, begin);
    atomic_store(&ring->tail, begin);
    uint64_t read = 0;
    for (uint64_t number = 0; number < 1000; number++) {
        CHECK(write_record(ring, number, LONGEST));
        if (number >= 2)
            CHECK(read_record(ring, read++, LONGEST));
    }
    CHECK(atomic_load(&ring->head) < begin);
    free(ring);
}

enum { RECORDS = 200000, LONGEST = 300 };

static void *write_all(void *ring) {
    for (uint64_t number = 0; number < RECORDS;) {
        if (write_record(ring, number, LONGEST))
            number++;
        else
            sched_yield();
    }
    return NULL;
}

static void check_together(void) {
    mw_ring *ring = new_ring(8192);
    pthread_t writer;
    CHECK(!pthread_create(&writer, NULL, write_all, ring));
    for (uint64_t number = 0; number < RECORDS;) {
        if (read_record(ring, number, LONGEST))
            number++;
        else
            sched_yield();
    }
    pthread_join(writer, NULL);
    CHECK(!read_record(ring, 0, LONGEST));
    free(ring);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (!strcmp(argv[1], "together")) {
        check_together();
        return 0;
    }
    CHECK(!strcmp(argv[1], "alone"));
    check_limits();
    check_wrap();
    check_alone(1024, 100, 1);
    check_alone(4096, 3000, 2);
    check_alone(4096, 0, 3);
    check_alone(1 << 16, 500, 4);
    return 0;
}
