/* Lists of processes by sysctl(KERN_PROC), and unique ids. */
#include "processes.h"

#include <errno.h>
#include <libproc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysctl.h>
#include <time.h>

#include "clock.h"
#include "grow.h"
#include "uniqueid.h"

/* Processes that may be started between asking how many there are and listing
   them. */
enum { SPARE_ROWS = 32 };

/* How often a list that did not fit is asked for again, each time with room for
   half as many more. */
enum { MOST_TRIES = 16 };

static char state_of(char status) {
    switch (status) {
    case SIDL: return 'I';
    case SRUN: return 'R';
    case SSLEEP: return 'S';
    case SSTOP: return 'T';
    case SZOMB: return 'Z';
    }
    return '?';
}

static void fill_row(const struct kinfo_proc *info, mw_row *out) {
    const struct extern_proc *p = &info->kp_proc;
    *out = (mw_row){
        .start =
            (int64_t)p->p_starttime.tv_sec * 1000000 + p->p_starttime.tv_usec,
        .pid = p->p_pid,
        .ppid = info->kp_eproc.e_ppid,
        .group = info->kp_eproc.e_pgid,
        .state = state_of(p->p_stat),
    };
    memcpy(out->name, p->p_comm, sizeof out->name - 1);
}

/* Makes the buffer larger, to `size` bytes: 0 or -ENOMEM. */
static int resize(mw_listing *l, size_t size) {
    void *grown = realloc(l->buffer, size);
    if (!grown)
        return -ENOMEM;
    l->buffer = grown;
    l->buffer_size = size;
    return 0;
}

/* Fills the buffer. Returns how many bytes, or -errno. */
static ssize_t fetch(mw_listing *l) {
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_ALL};
    for (int i = 0; i < MOST_TRIES; i++) {
        size_t size = l->buffer_size;
        if (size && !sysctl(name, 3, l->buffer, &size, NULL, 0))
            return (ssize_t)size;
        if (size && errno != ENOMEM)
            return -errno;
        /* Too small, or none yet. */
        size_t wanted = 0;
        if (sysctl(name, 3, NULL, &wanted, NULL, 0))
            return -errno;
        wanted += SPARE_ROWS * sizeof(struct kinfo_proc);
        if (wanted <= l->buffer_size)
            wanted = l->buffer_size + l->buffer_size / 2;
        int error = resize(l, wanted);
        if (error)
            return error;
    }
    return -ENOMEM;
}

int mw_list_processes(mw_listing *l) {
    ssize_t size = fetch(l);
    if (size < 0)
        return (int)size;
    const struct kinfo_proc *info = l->buffer;
    size_t count = (size_t)size / sizeof *info;
    void *rows = l->rows;
    int error =
        mw_grow(&rows, &l->capacity, count, sizeof *l->rows, SPARE_ROWS);
    l->rows = rows;
    if (error)
        return error;
    l->count = 0;
    for (size_t i = 0; i < count; i++)
        if (info[i].kp_proc.p_pid > 0) /* the kernel's own is 0 */
            fill_row(&info[i], &l->rows[l->count++]);
    return 0;
}

void mw_listing_free(mw_listing *l) {
    free(l->rows);
    free(l->buffer);
}

int mw_find_process(int32_t pid, mw_row *out) {
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, pid};
    struct kinfo_proc info;
    size_t size = sizeof info;
    if (sysctl(name, 4, &info, &size, NULL, 0))
        return -errno;
    /* A pid that is not in use gives an empty answer. */
    if (size < sizeof info || info.kp_proc.p_pid != pid)
        return -ESRCH;
    fill_row(&info, out);
    return 0;
}

int mw_ask_unique(int32_t pid, int zombies, mw_unique *out) {
    struct mw_uniqueid_info info;
    errno = 0;
    int size = proc_pidinfo(pid, MW_PIDUNIQUEID, (uint64_t)zombies, &info,
                            sizeof info);
    if (size != (int)sizeof info)
        return errno ? -errno : -ESRCH;
    *out = (mw_unique){.id = info.unique_id,
                       .parent_id = info.parent_unique_id,
                       .version = info.version};
    memcpy(out->program, info.uuid, sizeof out->program);
    return 0;
}

/*
 * Start times are the wall clock's, so the result is right if that clock is not
 * set between the start and now. Therefore it is asked for soon after the
 * start, and once. kern.boottime would not do: it moves with the clock, but
 * leaves the drift of the two clocks since boot.
 */
int64_t mw_since_boot(int64_t start) {
    int64_t age = mw_read_clock(CLOCK_REALTIME) - start * 1000;
    return mw_now() - age;
}
