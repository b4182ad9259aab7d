/*
 * The parser of KERN_PROCARGS2 on any bytes: libFuzzer's entry point, and with
 * -DSTANDALONE a program of its own.
 */
#include "arguments.h"

#include <errno.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns how many words end within the bytes. */
static int32_t count_words(const char *text, size_t length) {
    int32_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += !text[i];
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = exact(data, size);
    mw_words words;
    int result = mw_parse_arguments(text, size, &words);
    int32_t count = 0;
    if (size >= sizeof count)
        memcpy(&count, data, sizeof count);
    CHECK(result == 0 || result == -EINVAL);
    CHECK(result == -EINVAL || (size >= sizeof count && count >= 0));
    if (!result) {
        CHECK(words.offset >= sizeof count && words.offset <= size);
        CHECK(words.length <= size - words.offset);
        int32_t found = count_words(text + words.offset, words.length);
        CHECK(words.is_cut ? found < count : found == count);
        /* Between the path and the words are only NULs. */
        size_t path = strnlen(text + sizeof count, size - sizeof count);
        for (size_t i = sizeof count + path; i < words.offset; i++)
            CHECK(!text[i]);
        /* If words are missing, those that are there reach to the end. */
        CHECK(!words.is_cut || words.offset + words.length == size);
    }
    exact_free(text, size);

    /* If the end is cut off, the rest gives the same, without what is
       missing. */
    for (size_t less = size; !result && less-- > words.offset;) {
        char *cut = exact(data, less);
        mw_words fewer;
        CHECK(!mw_parse_arguments(cut, less, &fewer));
        CHECK(fewer.offset <= less && fewer.length <= less - fewer.offset);
        CHECK(fewer.is_cut || fewer.length == words.length);
        exact_free(cut, less);
        if (size - less > 16)
            break;
    }
    return 0;
}

#ifdef STANDALONE

static const char *const TOKENS[] = {"\1", "/bin/sh", "a=b", "--", "\377\377"};

#include "mutate.h"

#endif
