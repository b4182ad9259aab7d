/*
 * The processes of the job: turns looks at them, and news of them, into
 * observations. Knows no platform, no thread and no clock.
 */
#ifndef MW_FOLLOW_H
#define MW_FOLLOW_H

#include "platform.h"
#include "queue.h"
#include "table.h"

typedef struct mw_follower {
    mw_platform *platform;
    int32_t root_pid;
    int32_t adopter_pid;    /* see mw_sampler_options */
    int has_other_children; /* so, too */

    mw_queue said;       /* what was observed: the caller takes it */
    mw_table table;      /* every process followed */
    uint64_t total;      /* sum of resident sizes at the last tick */
    uint64_t largest;    /* resident size or peak of one process, ever */
    uint64_t unreadable; /* processes whose memory could not be read */
    int root_ended;

    /* Its own. */
    uint64_t last_serial;
    uint64_t rounds; /* ticks */
    uint64_t drains;
    int closing;       /* the root has ended: no more news will be waited for */
    int has_footprint; /* that of some process could be read */
    mw_pids found;     /* to be followed if they are not yet */
    mw_pids fresh;     /* forked or executed something: to be looked at */
    mw_pids leaving;   /* said to have ended */
    mw_news_list news; /* of this round */
    mw_news_list early; /* records that came before word of their process */
    char *text;         /* of the image being looked at */
} mw_follower;

/* All zero, but for the first four fields, is a valid beginning. */

/* One pass over the whole job. `skipped` is said with the tick. `closing`: the
   root has ended, and there will be no other pass. 0 or -errno. */
int mw_follow_tick(mw_follower *follower, int64_t time, uint32_t flags,
                   uint64_t skipped, int closing);

/* Applies the news alone, and looks at what they are of. */
int mw_follow_news(mw_follower *follower, int64_t time);

/* Lets go of all processes, and frees what is its own. */
void mw_follow_end(mw_follower *follower);

#endif
