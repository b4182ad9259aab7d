/* Lists of events that grow. */
#include "event_list.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"

static const size_t FIRST_COUNT = 64;
static const size_t FIRST_TEXT = 4096;

mw_event *mw_event_add(mw_event_list *list, const char *text, size_t length) {
    void *items = list->items, *texts = list->text;
    int error = mw_grow(&items, &list->capacity, list->count + 1,
                        sizeof *list->items, FIRST_COUNT);
    list->items = items;
    if (error)
        return NULL;
    error = mw_grow(&texts, &list->text_capacity, list->text_count + length, 1,
                    FIRST_TEXT);
    list->text = texts;
    if (error)
        return NULL;
    mw_event *item = &list->items[list->count++];
    memset(item, 0, sizeof *item);
    item->text = list->text_count;
    item->text_length = length;
    if (length)
        memcpy(list->text + list->text_count, text, length);
    list->text_count += length;
    return item;
}

mw_event *mw_event_copy(mw_event_list *list, const mw_event *item,
                        const char *text) {
    mw_event *copy = mw_event_add(list, text, item->text_length);
    if (!copy)
        return NULL;
    size_t at = copy->text;
    *copy = *item;
    copy->text = at;
    return copy;
}

void mw_event_list_clear(mw_event_list *list) {
    list->count = list->text_count = 0;
}

void mw_event_list_free(mw_event_list *list) {
    free(list->items);
    free(list->text);
    memset(list, 0, sizeof *list);
}
