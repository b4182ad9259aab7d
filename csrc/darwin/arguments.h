/* The command line of a process, as sysctl(KERN_PROCARGS2) has it. */
#ifndef MW_DARWIN_ARGUMENTS_H
#define MW_DARWIN_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>

/* Where the words of the command line are in the buffer, one after the other,
   each with its NUL; the environment follows them. */
typedef struct mw_words {
    size_t offset;
    size_t length;
    int is_cut; /* the buffer ends before the last word does */
} mw_words;

/* Finds the words: 0, or -EINVAL if there are none. Never reads past `size`. */
int mw_parse_arguments(const char *buffer, size_t size, mw_words *out);

/* Returns the size of a buffer that is large enough for any command line. */
size_t mw_arguments_room(void);

/* Reads the buffer of a process. Returns how many bytes, or -errno; -EINVAL may
   mean that the process has ended, or is another user's. */
int64_t mw_read_arguments(int32_t pid, char *buffer, size_t room);

#endif
