/*
 * What event sources tell of processes, of the job's and of others: raw, to be
 * sorted out by follow_hear.c. Defined in news.c.
 */
#ifndef MW_NEWS_H
#define MW_NEWS_H

#include "memwatch.h"

enum mw_news_kind {
    MW_NEWS_FORK = 1,  /* `pid` was forked by `ppid` */
    MW_NEWS_EXEC,      /* `pid` executed a program. text: the kernel's name of
                          it, where the source tells. With a mark the source is
                          sure that it is this process, and that this image was
                          not looked at before */
    MW_NEWS_EXIT,      /* the first thread of `pid` has ended. status */
    MW_NEWS_RECORD,    /* the kernel's record of a thread that has ended: tid,
                          pid, ppid, elapsed, peak, user, system, bytes, status,
                          MW_INHERITED; text: the kernel's name */
    MW_NEWS_EXECUTING, /* `pid` is about to try execve; the rest as LAST, but
                          of a fork that has executed nothing only the time */
    MW_NEWS_LAST       /* `pid` is about to exit: ppid, start, peak, user,
                          system, mark, status; text: its image */
};

typedef struct mw_news {
    int64_t time;    /* since boot. Of a RECORD, when it was received */
    int64_t start;   /* since boot, to the clock tick; MW_HAS_START */
    int64_t elapsed; /* RECORD: from the thread's start to its end */
    int64_t user;    /* MW_HAS_CPU: of both */
    int64_t system;
    uint64_t peak;       /* high-water mark; MW_HAS_WATERMARK */
    uint64_t footprint;  /* EXIT: that of the footprint; MW_HAS_FOOTPRINT. With
                            it come user, system and bytes, where known */
    uint64_t read_bytes; /* from storage; MW_HAS_IO: of both */
    uint64_t written_bytes;
    uint64_t mark;      /* another one for each image, most likely */
    size_t text;        /* offset in the list's text */
    size_t text_length; /* an image's text is as mw_observation has it; a name
                           has no NUL */
    uint32_t kind;
    uint32_t valid; /* of mw_valid; the image's bits, too */
    int32_t pid;    /* of the process, as all of these but tid */
    int32_t ppid;   /* 0: not known */
    int32_t tid;
    int32_t status; /* as wait(2) has it; MW_HAS_STATUS */
} mw_news;

typedef struct mw_news_list {
    mw_news *items;
    size_t count;
    size_t capacity;
    char *text;
    size_t text_count;
    size_t text_capacity;
} mw_news_list;

/* An empty list, {0}, is valid for every function. */

/* One more item, zeroed, with a copy of `text`; NULL when out of memory. */
mw_news *mw_news_add(mw_news_list *list, const char *text, size_t length);

/* One more item, the same as `item`, with a copy of `text`, which is
   item->text_length long; NULL when out of memory. */
mw_news *mw_news_copy(mw_news_list *list, const mw_news *item,
                      const char *text);

/* Keeps the memory. */
void mw_news_clear(mw_news_list *list);

void mw_news_free(mw_news_list *list);

#endif
