/* A queue of observations for the reader: records, and the text of images. */
#ifndef MW_QUEUE_H
#define MW_QUEUE_H

#include "memwatch.h"

/* An empty queue, {0}, is valid for every function. */
typedef struct mw_queue {
    mw_observation *records;
    size_t count;
    size_t capacity;
    char *text;
    size_t text_count;
    size_t text_capacity;
} mw_queue;

/* Appends a record, zeroed; NULL when out of memory. */
mw_observation *mw_queue_add(mw_queue *queue);

/* Makes room for `length` more bytes of text. Returns where to write them, or
   NULL. The caller adds to `text_count` what it has written. */
char *mw_queue_text(mw_queue *queue, size_t length);

/* Appends all of `from` and empties it; or does nothing and returns -ENOMEM. */
int mw_queue_move(mw_queue *queue, mw_queue *from);

void mw_queue_free(mw_queue *queue);

#endif
