/* Reading and parsing KERN_PROCARGS2, the command line of a process. */
#include "arguments.h"

#include <errno.h>
#include <string.h>
#include <sys/sysctl.h>

/* ARG_MAX, if the system does not say. */
enum { USUAL_ROOM = 1 << 20 };

/* The path is padded with NULs to a multiple of a pointer's size: xnu's
   exec_extract_strings(). */
enum { PATH_ALIGNMENT = 8 };

/* Returns where argv[0] begins: at the end of the padding, even if argv[0] is
   empty. If the padding is shorter, it begins at the first byte after the path
   that is no NUL. */
static size_t skip_path(const char *text, size_t size) {
    size_t end = strnlen(text, size);
    size_t padded = (end + PATH_ALIGNMENT) / PATH_ALIGNMENT * PATH_ALIGNMENT;
    while (end < size && end < padded && !text[end])
        end++;
    return end;
}

int mw_parse_arguments(const char *buffer, size_t size, mw_words *out) {
    int32_t count;
    *out = (mw_words){0};
    if (size < sizeof count)
        return -EINVAL;
    memcpy(&count, buffer, sizeof count);
    if (count < 0)
        return -EINVAL;
    const char *text = buffer + sizeof count;
    size -= sizeof count;
    size_t start = skip_path(text, size), end = start;
    for (; count && end < size; count--)
        end += strnlen(text + end, size - end) + 1;
    out->offset = sizeof count + start;
    out->is_cut = count || end > size;
    out->length = (end > size ? size : end) - start;
    return 0;
}

size_t mw_arguments_room(void) {
    int name[] = {CTL_KERN, KERN_ARGMAX};
    int room = 0;
    size_t size = sizeof room;
    if (sysctl(name, 2, &room, &size, NULL, 0) || room <= 0)
        room = USUAL_ROOM;
    return (size_t)room;
}

int64_t mw_read_arguments(int32_t pid, char *buffer, size_t room) {
    int name[] = {CTL_KERN, KERN_PROCARGS2, pid};
    size_t size = room;
    if (sysctl(name, 3, buffer, &size, NULL, 0))
        return -errno;
    /* If the buffer is too small, it gets the end of the data, without the
       path. */
    return size < room ? (int64_t)size : -EINVAL;
}
