/*
 * Everything that is recorded about one process, read while the process stands
 * still. Safe in a child of a threaded process: system calls only.
 */
#ifndef MW_LINUX_SNAPSHOT_H
#define MW_LINUX_SNAPSHOT_H

#include <stdbool.h>

#include "event_list.h"
#include "procfs.h"

/* Room for the text of an image: a name, two paths, a command line of 128
   KiB. */
enum { MW_SNAPSHOT_TEXT = 64 + 2 * 4096 + (128 << 10) };

typedef struct mw_snapshot {
    int proc_fd;
    uint64_t tick_ns; /* length of a clock tick as in `stat` */
    int dir;          /* /proc/TID, between the two steps; -1: none */
    char name[64];
    char file[MW_FILE_TEXT];
    size_t text_length;
    char text[MW_SNAPSHOT_TEXT];
} mw_snapshot;

/* The functions below fill the fields that mw_event has for EXITING and
   EXECUTING, except kind, time and status. `tid` is any thread of the
   process. */

/* Step 1: reads all but the text. Returns whether the process could be read.
   With `executing`, a process that has executed nothing yet is only
   identified. */
bool mw_snapshot_numbers(mw_snapshot *s, int32_t tid, bool executing,
                         mw_event *out);

/* Step 2: reads the text, unless step 1 has found that there is none to
   read. */
void mw_snapshot_image(mw_snapshot *s, mw_event *out);

/* Replaces both steps for a process that has certainly executed nothing yet:
   reads its identity only. Since that does not change, the process may run on
   meanwhile. */
void mw_snapshot_identity(mw_snapshot *s, int32_t pid, mw_event *out);

#endif
