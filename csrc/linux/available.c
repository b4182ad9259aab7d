/* Available memory: MemAvailable of the machine, and what the limits of control
   groups leave. The files stay open. */
#include "available.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "procfs.h"
#include "state.h"

/* `memory.stat` has some 50 lines, in version 1 twice as many. */
enum { STAT_TEXT = 8192, PATH_TEXT = 4096 };

static int open_in(const char *folder, const char *name) {
    char path[PATH_TEXT];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void close_group(const mw_group *group) {
    if (group->usage_fd >= 0)
        close(group->usage_fd);
    if (group->stat_fd >= 0)
        close(group->stat_fd);
}

static int open_groups(mw_available *a, const mw_sampler_options *options) {
    a->version = options->group_version;
    if (!options->group_count)
        return 0;
    a->groups = calloc(options->group_count, sizeof *a->groups);
    if (!a->groups)
        return -ENOMEM;
    for (size_t i = 0; i < options->group_count; i++) {
        const mw_group_limit *limit = &options->groups[i];
        mw_group group = {
            .limit = limit->limit,
            .usage_fd =
                open_in(limit->folder, a->version == 1 ? "memory.usage_in_bytes"
                                                       : "memory.current"),
            .stat_fd = open_in(limit->folder, "memory.stat"),
        };
        if (group.usage_fd >= 0)
            a->groups[a->group_count++] = group;
        else
            close_group(&group);
    }
    return 0;
}

int mw_available_open(mw_available *a, int proc_fd,
                      const mw_sampler_options *options) {
    if (!options->min_available)
        return 0;
    a->meminfo_fd = openat(proc_fd, "meminfo", O_RDONLY | O_CLOEXEC);
    a->is_open = a->meminfo_fd >= 0;
    return a->is_open ? open_groups(a, options) : 0;
}

/* Returns the bytes that a group has left, or UINT64_MAX if it cannot be read
   any more. */
static uint64_t left_in(const mw_group *group, int version, uint64_t enough) {
    char text[STAT_TEXT];
    uint64_t usage, cache;
    ssize_t n = mw_procfs_reread(group->usage_fd, text, sizeof text);
    if (n < 0 || !mw_parse_number(text, (size_t)n, &usage))
        return UINT64_MAX;
    uint64_t left = group->limit > usage ? group->limit - usage : 0;
    if (left >= enough || group->stat_fd < 0)
        return left;
    /* Costs ten times as much. */
    n = mw_procfs_reread(group->stat_fd, text, sizeof text);
    if (n < 0 || !mw_parse_inactive_file(text, (size_t)n, version, &cache))
        return left;
    uint64_t used = usage > cache ? usage - cache : 0;
    return group->limit > used ? group->limit - used : 0;
}

int mw_platform_available(mw_platform *p, uint64_t enough, uint64_t *bytes,
                          int *in_group) {
    const mw_available *a = &p->available;
    char text[MW_FILE_TEXT];
    *in_group = 0;
    *bytes = 0;
    if (!a->is_open)
        return -ENOTSUP;
    ssize_t n = mw_procfs_reread(a->meminfo_fd, text, sizeof text);
    if (n < 0)
        return (int)n;
    if (!mw_parse_available(text, (size_t)n, bytes))
        return -ENOTSUP;
    for (size_t i = 0; i < a->group_count; i++) {
        uint64_t left = left_in(&a->groups[i], a->version, enough);
        if (left < *bytes) {
            *bytes = left;
            *in_group = 1;
        }
    }
    return 0;
}

void mw_available_close(mw_available *a) {
    if (a->is_open)
        close(a->meminfo_fd);
    for (size_t i = 0; i < a->group_count; i++)
        close_group(&a->groups[i]);
    free(a->groups);
    *a = (mw_available){0};
}
