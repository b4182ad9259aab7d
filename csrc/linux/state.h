/* The state of the Linux platform, which its files share. */
#ifndef MW_LINUX_STATE_H
#define MW_LINUX_STATE_H

#include "available.h"
#include "feeds.h"
#include "platform.h"
#include "written.h"

struct mw_platform {
    int proc_fd;
    int real;       /* proc_fd is this machine's /proc, not a test's tree */
    int stop_fd;    /* eventfd */
    int epoll_fd;   /* holds stop_fd, root_pidfd and those of the feeds */
    int root_pidfd; /* -1: not opened yet, or the kernel has none */
    int32_t root_pid;
    int32_t adopter_pid;
    int has_other_children;  /* see mw_sampler_options */
    int adopter_children_fd; /* `children` of its first thread; -1: none */
    mw_pids other_children;  /* that the adopter had before the job */
    uint32_t descriptors_left;
    uint64_t page_size;
    uint64_t roughness;      /* see mw_platform_roughness() */
    uint64_t tick_ns;        /* length of a clock tick as in `stat` */
    int has_huge_pages;      /* the machine has reserved some */
    uint64_t huge_page_size; /* of transparent ones; 0: there are none */
    mw_sampler_stats stats;
    mw_process *scan; /* buffer of the last scan */
    size_t scan_capacity;
    mw_feeds feeds;
    mw_available available;
    mw_mounts mounts;
    int skip_children; /* in this tick: events cover every fork */
};

/* Returns whether a child of the adopter was there before the job. */
static inline int mw_is_other_child(const mw_platform *p, int32_t pid) {
    return mw_pids_have(&p->other_children, pid);
}

#endif
