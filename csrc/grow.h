/* The growth of every array that has no fixed size. */
#ifndef MW_GROW_H
#define MW_GROW_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Makes room in `*memory` for `needed` items of `size` bytes: 0, or -ENOMEM and
   nothing has changed. `*capacity` is the number of items there is room for; it
   doubles from `first` on, so that adding one item at a time stays cheap. */
static inline int mw_grow(void **memory, size_t *capacity, size_t needed,
                          size_t size, size_t first) {
    if (needed <= *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity : first;
    while (wanted < needed)
        wanted *= 2;
    void *grown = realloc(*memory, wanted * size);
    if (!grown)
        return -ENOMEM;
    *memory = grown;
    *capacity = wanted;
    return 0;
}

#endif
