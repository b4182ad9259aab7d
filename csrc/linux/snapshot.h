/*
 * Everything that is reported of one process, read while it stands still. Safe
 * in a child of a threaded process: system calls only.
 */
#ifndef MW_LINUX_SNAPSHOT_H
#define MW_LINUX_SNAPSHOT_H

#include <stdbool.h>

#include "news.h"
#include "procfs.h"

/* The text of an image: a name, two paths, a command line of 128 KiB. */
enum { MW_SNAPSHOT_TEXT = 64 + 2 * 4096 + (128 << 10) };

typedef struct mw_snapshot {
    int proc_fd;
    uint64_t tick_ns; /* length of a clock tick as in `stat` */
    int dir;          /* of the thread, between the two steps; -1: none */
    char name[64];
    char file[MW_FILE_TEXT];
    size_t text_length;
    char text[MW_SNAPSHOT_TEXT];
} mw_snapshot;

/* The calls below fill what mw_news has of LAST and EXECUTING, but kind, time
   and status. `tid` is any thread of the process. */

/* First all but the text: whether the process could be read at all. With
   `executing`, one that has executed nothing yet is only identified. */
bool mw_snapshot_numbers(mw_snapshot *s, int32_t tid, bool executing,
                         mw_news *out);

/* Then the text, if mw_snapshot_numbers() has found that there is more. */
void mw_snapshot_image(mw_snapshot *s, mw_news *out);

/* Instead of both, of a process that has surely executed nothing yet: who it
   is. As this does not change, it may be on its way by now. */
void mw_snapshot_identity(mw_snapshot *s, int32_t pid, mw_news *out);

#endif
