/*
 * Events: what the kernel's sources report about processes, those of the job
 * and others. follow_hear.c decides what each of them means.
 */
#ifndef MW_EVENT_LIST_H
#define MW_EVENT_LIST_H

#include "memwatch.h"

/* What happened, and which fields of mw_event are set beside time and pid. */
enum mw_event_kind {
    MW_EVENT_FORK = 1,  /* `ppid` forked `pid` */
    MW_EVENT_EXEC,      /* `pid` executed a program. text: the kernel's name of
                           it, if the source has that. With an exec_id the
                           source is sure that it is this process, and that
                           this image was not read before */
    MW_EVENT_EXIT,      /* the first thread of `pid` has ended. status, tid */
    MW_EVENT_RECORD,    /* the kernel's exit record of one thread: tid, ppid,
                           elapsed, peak, user, system, bytes, faults,
                           status, MW_INHERITED; text: the kernel's name */
    MW_EVENT_EXECUTING, /* `pid` is about to call execve: as EXITING, without
                           status. Of a fork that has executed nothing yet only
                           ppid and start are set */
    MW_EVENT_EXITING    /* `pid` is about to exit: ppid, start, peak, user,
                           system, faults, exec_id, status; text: that of its
                           image */
};

typedef struct mw_event {
    int64_t time;    /* since boot. RECORD: when it was received */
    int64_t start;   /* since boot, to the clock tick; MW_HAS_START */
    int64_t elapsed; /* RECORD: from the thread's start to its end */
    int64_t user;    /* MW_HAS_CPU covers both */
    int64_t system;
    uint64_t peak;       /* high-water mark of RSS; MW_HAS_WATERMARK */
    uint64_t footprint;  /* EXIT: high-water mark of the footprint;
                            MW_HAS_FOOTPRINT. user, system and bytes come with
                            it, if known */
    uint64_t read_bytes; /* from storage; MW_HAS_IO covers both */
    uint64_t written_bytes;
    uint64_t faults;     /* page faults; MW_HAS_FAULTS */
    uint64_t exec_id;    /* see mw_image */
    uint64_t kept_since; /* RECORD: the follower's count when it first kept this
                            record for a process not known yet; 0: it is new */
    size_t text;         /* offset in the list's text */
    size_t text_length;  /* an image's text is laid out as mw_observation says;
                            a name has no NUL */
    uint32_t kind;
    uint32_t valid; /* of mw_valid, the bits of an image included */
    int32_t pid;
    int32_t ppid;   /* 0: not known */
    int32_t tid;    /* the thread; 0: not known. All else is the process's */
    int32_t status; /* as wait(2) has it; MW_HAS_STATUS */
} mw_event;

/* An empty list, {0}, is valid for every function. */
typedef struct mw_event_list {
    mw_event *items;
    size_t count;
    size_t capacity;
    char *text;
    size_t text_count;
    size_t text_capacity;
} mw_event_list;

/* Appends an event, zeroed, with a copy of `text`; NULL when out of memory. */
mw_event *mw_event_add(mw_event_list *list, const char *text, size_t length);

/* Appends a copy of `item` and of its text, `item->text_length` bytes; NULL
   when out of memory. */
mw_event *mw_event_copy(mw_event_list *list, const mw_event *item,
                        const char *text);

/* Empties the list and keeps its memory. */
void mw_event_list_clear(mw_event_list *list);

void mw_event_list_free(mw_event_list *list);

#endif
