/* What sysctl(KERN_PROCARGS2) says of a command line. */
#ifndef MW_DARWIN_ARGUMENTS_H
#define MW_DARWIN_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>

/* Where the words are in a KERN_PROCARGS2 buffer, one after the other, each
   with its NUL; the environment follows them. */
typedef struct mw_words {
    size_t offset;
    size_t length;
    int is_cut; /* the buffer ends before the last word does */
} mw_words;

/* 0, or -EINVAL where no words can be told. Never reads past `size`. */
int mw_parse_arguments(const char *buffer, size_t size, mw_words *out);

/* The room that any command line needs. */
size_t mw_arguments_room(void);

/* Reads the buffer of a process: how many bytes, or -errno, -EINVAL for any
   reason: it has ended, or is another user's. */
int64_t mw_read_arguments(int32_t pid, char *buffer, size_t room);

#endif
