/* Which processes there are, and their identities. */
#ifndef MW_DARWIN_PROCESSES_H
#define MW_DARWIN_PROCESSES_H

#include "platform.h"

/* One process of the machine, as sysctl(KERN_PROC) has it, which gives it to
   every user. */
typedef struct mw_row {
    int64_t start; /* microseconds since 1970; execve leaves it */
    int32_t pid;
    int32_t ppid;
    int32_t group; /* 0 for a zombie */
    char state;    /* as in mw_process */
    char name[17]; /* MAXCOMLEN and a NUL */
} mw_row;

/* All processes, and memory to list them again. {0} is an empty listing. */
typedef struct mw_listing {
    mw_row *rows;
    size_t count;
    size_t capacity;
    void *buffer;
    size_t buffer_size;
} mw_listing;

/* Lists every process, also zombies, in the system's order: 0 or -errno. */
int mw_list_processes(mw_listing *listing);

void mw_listing_free(mw_listing *listing);

/* Reads one process, also a zombie: 0, or -ESRCH. */
int mw_find_process(int32_t pid, mw_row *out);

/* Numbers that the system never gives out twice between two boots. */
typedef struct mw_unique {
    uint64_t id;         /* of the process */
    uint64_t parent_id;  /* of the process that forked it; from macOS 13, after
                        an execve, of its parent at that time */
    int32_t version;     /* changes with each execve */
    uint8_t program[16]; /* the executable's LC_UUID */
} mw_unique;

/* Reads them: 0, -ESRCH or another -errno; a zombie is found only with
   `zombies`. Works for processes of any user, except in a sandbox. */
int mw_ask_unique(int32_t pid, int zombies, mw_unique *out);

/* Converts the start time of a row to the clock of mw_now(). */
int64_t mw_since_boot(int64_t start);

#endif
