/* Which processes there are, and who each of them is. */
#ifndef MW_DARWIN_PROCESSES_H
#define MW_DARWIN_PROCESSES_H

#include "platform.h"

/* One process of the machine, as sysctl(KERN_PROC) has it. Nobody is refused
   any of it. */
typedef struct mw_row {
    int64_t start; /* microseconds since 1970; execve leaves it */
    int32_t pid;
    int32_t ppid;
    int32_t group; /* 0 of a zombie */
    char state;    /* as in mw_process */
    char name[17]; /* MAXCOMLEN and a NUL */
} mw_row;

/* All of them, and the memory for asking again. {0} is an empty one. */
typedef struct mw_listing {
    mw_row *rows;
    size_t count;
    size_t capacity;
    void *buffer;
    size_t buffer_size;
} mw_listing;

/* Lists every process, zombies too, in the system's order: 0 or -errno. */
int mw_list_processes(mw_listing *listing);

void mw_listing_free(mw_listing *listing);

/* One process, a zombie too: 0, or -ESRCH. */
int mw_find_process(int32_t pid, mw_row *out);

/* Numbers that are given out once between two boots. */
typedef struct mw_unique {
    uint64_t id;         /* of the process */
    uint64_t parent_id;  /* of who forked it; of its parent when it executed,
                            from macOS 13 */
    int32_t version;     /* another one with each execve */
    uint8_t program[16]; /* the executable's LC_UUID */
} mw_unique;

/* 0, -ESRCH or another -errno; a zombie is found only with `zombies`. Nobody is
   refused, but in a sandbox. */
int mw_ask_unique(int32_t pid, int zombies, mw_unique *out);

/* A start time of a row on the clock of mw_now(). */
int64_t mw_since_boot(int64_t start);

#endif
