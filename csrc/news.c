#include "news.h"

#include <stdlib.h>
#include <string.h>

static const size_t FIRST_COUNT = 64;
static const size_t FIRST_TEXT = 4096;

/* Room for `count` things of `size` in *memory: 1, or 0 when out of memory. */
static int reserve(void **memory, size_t *capacity, size_t count, size_t size,
                   size_t first) {
    if (count <= *capacity)
        return 1;
    size_t wanted = *capacity ? *capacity * 2 : first;
    while (wanted < count)
        wanted *= 2;
    void *grown = realloc(*memory, wanted * size);
    if (!grown)
        return 0;
    *memory = grown;
    *capacity = wanted;
    return 1;
}

mw_news *mw_news_add(mw_news_list *list, const char *text, size_t length) {
    void *items = list->items, *texts = list->text;
    int room = reserve(&items, &list->capacity, list->count + 1,
                       sizeof *list->items, FIRST_COUNT);
    list->items = items;
    if (!room)
        return NULL;
    room = reserve(&texts, &list->text_capacity, list->text_count + length, 1,
                   FIRST_TEXT);
    list->text = texts;
    if (!room)
        return NULL;
    mw_news *item = &list->items[list->count++];
    memset(item, 0, sizeof *item);
    item->text = list->text_count;
    item->text_length = length;
    if (length)
        memcpy(list->text + list->text_count, text, length);
    list->text_count += length;
    return item;
}

mw_news *mw_news_copy(mw_news_list *list, const mw_news *item,
                      const char *text) {
    mw_news *copy = mw_news_add(list, text, item->text_length);
    if (!copy)
        return NULL;
    size_t at = copy->text;
    *copy = *item;
    copy->text = at;
    return copy;
}

void mw_news_clear(mw_news_list *list) { list->count = list->text_count = 0; }

void mw_news_free(mw_news_list *list) {
    free(list->items);
    free(list->text);
    memset(list, 0, sizeof *list);
}
