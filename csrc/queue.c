/* The queue of observations for the reader. */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"

/* 4096 records are 192 KiB: ten seconds of quiet ticks at 10 ms, or one batch
   of a busy job. Only images have text, so there is little until a job
   forks. */
static const size_t FIRST_RECORDS = 4096;
static const size_t FIRST_TEXT = 16384;

static int reserve_records(mw_queue *queue, size_t more) {
    void *records = queue->records;
    int error = mw_grow(&records, &queue->capacity, queue->count + more,
                        sizeof *queue->records, FIRST_RECORDS);
    queue->records = records;
    return error;
}

static int reserve_text(mw_queue *queue, size_t more) {
    void *text = queue->text;
    int error = mw_grow(&text, &queue->text_capacity, queue->text_count + more,
                        1, FIRST_TEXT);
    queue->text = text;
    return error;
}

mw_observation *mw_queue_add(mw_queue *queue) {
    if (reserve_records(queue, 1))
        return NULL;
    mw_observation *record = &queue->records[queue->count++];
    memset(record, 0, sizeof *record);
    return record;
}

char *mw_queue_text(mw_queue *queue, size_t length) {
    return reserve_text(queue, length) ? NULL : queue->text + queue->text_count;
}

int mw_queue_move(mw_queue *queue, mw_queue *from) {
    if (reserve_records(queue, from->count) ||
        reserve_text(queue, from->text_count))
        return -ENOMEM;
    if (from->text_count) {
        for (size_t i = 0; i < from->count; i++)
            if (from->records[i].kind == MW_IMAGE)
                from->records[i].value += queue->text_count;
        memcpy(queue->text + queue->text_count, from->text, from->text_count);
    }
    if (from->count)
        memcpy(queue->records + queue->count, from->records,
               from->count * sizeof *from->records);
    queue->count += from->count;
    queue->text_count += from->text_count;
    from->count = 0;
    from->text_count = 0;
    return 0;
}

void mw_queue_free(mw_queue *queue) {
    free(queue->records);
    free(queue->text);
    memset(queue, 0, sizeof *queue);
}
