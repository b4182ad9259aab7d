/*
 * The table of processes, the list of pids and the queue of observations. The
 * table and the queue do random operations, and are compared with models that
 * are too simple to be wrong.
 */
#include "table.h"

#include <errno.h>

#include "check.h"
#include "queue.h"

/* --- table --- */

enum { MOST = 600, ROUNDS = 30000 };

typedef struct {
    int32_t pid;
    uint64_t serial;
} model_slot;

typedef struct {
    model_slot slots[MOST];
    size_t count;
} model_table;

static void check_same(const mw_table *table, const model_table *model) {
    CHECK(table->count == model->count);
    for (size_t i = 0; i < model->count; i++) {
        ptrdiff_t at = mw_table_find(table, model->slots[i].pid);
        CHECK(at >= 0 && (size_t)at < table->count);
        CHECK(table->slots[at].pid == model->slots[i].pid);
        CHECK(table->slots[at].serial == model->slots[i].serial);
    }
}

static size_t model_find(const model_table *model, int32_t pid) {
    size_t i = 0;
    while (i < model->count && model->slots[i].pid != pid)
        i++;
    return i;
}

/* Pids `stride` apart: a power of two sends many of them to one bucket. */
static void test_table(int32_t stride, size_t range, uint64_t seed) {
    mw_table table = {0};
    static model_table model;
    model.count = 0;
    uint64_t serial = 0, state = seed;
    CHECK(mw_table_find(&table, stride) == -1);
    for (int round = 0; round < ROUNDS; round++) {
        int32_t pid = (int32_t)below(&state, range) * stride + 1;
        size_t at = model_find(&model, pid);
        CHECK((mw_table_find(&table, pid) >= 0) == (at < model.count));
        if (at < model.count) {
            mw_table_remove(&table, (size_t)mw_table_find(&table, pid));
            model.slots[at] = model.slots[--model.count];
            CHECK(mw_table_find(&table, pid) == -1);
        } else if (model.count < MOST) {
            mw_slot *slot = NULL;
            CHECK(!mw_table_add(&table, pid, &slot));
            CHECK(slot->pid == pid && !slot->handle && !slot->serial &&
                  !slot->rss && !slot->ended && !slot->has_rss);
            slot->serial = ++serial;
            /* The values of a removed slot must not come back. */
            slot->rss = ~(uint64_t)0;
            slot->ended = slot->has_rss = 1;
            model.slots[model.count++] = (model_slot){pid, serial};
        }
        if (round % 64 == 0)
            check_same(&table, &model);
    }
    check_same(&table, &model);
    while (table.count)
        mw_table_remove(&table, below(&state, table.count));
    for (size_t i = 0; i < range; i++)
        CHECK(mw_table_find(&table, (int32_t)i * stride + 1) == -1);
    mw_table_free(&table);
    CHECK(!table.count && !table.slots && !table.buckets);
    mw_table_free(&table);
}

/* The table is walked by index while slots are removed: the last slot moves to
   the index that became free, and nothing else moves. */
static void test_table_walk(void) {
    mw_table table = {0};
    uint8_t seen[200] = {0};
    for (int32_t pid = 1; pid <= 200; pid++) {
        mw_slot *slot;
        CHECK(!mw_table_add(&table, pid, &slot));
    }
    for (size_t i = 0; i < table.count;) {
        int32_t pid = table.slots[i].pid;
        CHECK(!seen[pid - 1]);
        seen[pid - 1] = 1;
        if (pid % 3)
            mw_table_remove(&table, i);
        else
            i++;
    }
    for (size_t i = 0; i < 200; i++) {
        CHECK(seen[i]);
        CHECK((mw_table_find(&table, (int32_t)i + 1) >= 0) == !((i + 1) % 3));
    }
    mw_table_free(&table);
}

static void test_pids(void) {
    mw_pids pids = {0};
    for (int32_t pid = 0; pid < 5000; pid++)
        CHECK(!mw_pids_add(&pids, pid * 7));
    CHECK(pids.count == 5000 && pids.capacity >= 5000);
    for (int32_t pid = 0; pid < 5000; pid++)
        CHECK(pids.pid[pid] == pid * 7);
    free(pids.pid);
}

/* --- queue --- */

/* One queue is filled, and another takes all it holds, as in a sampler. Every
   record comes out once, in order, images with their own text. */
static void test_queue(uint64_t seed) {
    mw_queue tick = {0}, unread = {0};
    uint64_t state = seed, written = 0, read = 0;
    for (int round = 0; round < 3000; round++) {
        switch (below(&state, 10)) {
        default:
            for (size_t i = below(&state, 40); i > 0; i--) {
                mw_observation *record = mw_queue_add(&tick);
                CHECK(record);
                mw_observation none;
                memset(&none, 0, sizeof none);
                CHECK(!memcmp(record, &none, sizeof none));
                record->process = ++written;
                record->kind = MW_MEMORY;
                record->value = ~written;
                if (written % 3)
                    continue;
                /* More room is asked for than is used in the end. */
                size_t length = below(&state, 300) + 1;
                char *text = mw_queue_text(&tick, length + 1000);
                CHECK(text);
                memset(text, (int)(written % 251), length);
                record->kind = MW_IMAGE;
                record->value = tick.text_count;
                record->second = length;
                tick.text_count += length;
            }
            break;
        case 1:
        case 2:
        case 3: {
            size_t expected = tick.count + unread.count;
            CHECK(!mw_queue_move(&unread, &tick));
            CHECK(unread.count == expected);
            CHECK(!tick.count && !tick.text_count);
            break;
        }
        case 4:
            for (size_t i = 0; i < unread.count; i++) {
                const mw_observation *record = &unread.records[i];
                CHECK(record->process == ++read);
                if (record->kind == MW_MEMORY) {
                    CHECK(record->value == ~read);
                    continue;
                }
                CHECK(record->value + record->second <= unread.text_count);
                for (uint64_t at = 0; at < record->second; at++)
                    CHECK((uint8_t)unread.text[record->value + at] ==
                          read % 251);
            }
            unread.count = unread.text_count = 0;
            break;
        }
    }
    CHECK(written > 10000 && read > 10000);
    mw_queue_free(&tick);
    mw_queue_free(&unread);
    mw_queue_free(&unread);
}

/* More than memory can hold is refused, and nothing that was there is lost. */
static void test_queue_refuses(void) {
    mw_queue queue = {0};
    char *text = mw_queue_text(&queue, 3);
    CHECK(text);
    memcpy(text, "abc", 3);
    queue.text_count = 3;
    CHECK(!mw_queue_text(&queue, (size_t)1 << 62));
    CHECK(queue.text_count == 3 && !memcmp(queue.text, "abc", 3));
    mw_queue_free(&queue);
}

int main(void) {
    test_table(1, 500, 1);
    test_table(1, 4000, 2);
    test_table(64, 300, 3);
    test_table(4096, 300, 4);
    test_table(1 << 20, 300, 5);
    test_table_walk();
    test_pids();
    test_queue(6);
    test_queue(7);
    test_queue_refuses();
    return 0;
}
