/* Which event sources work here, and what several of them ask the system. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "feed.h"
#include "procfs.h"

static int try_to_open(int (*open_feed)(mw_feed **)) {
    mw_feed *feed;
    int error = open_feed(&feed);
    if (!error)
        feed->close(feed);
    return error;
}

int mw_probe(uint32_t source) {
    switch (source) {
    case MW_CONNECTOR: return try_to_open(mw_connector_open);
    case MW_PERF: return try_to_open(mw_perf_open);
    case MW_TASKSTATS: return try_to_open(mw_taskstats_open);
    case MW_HOOK: return mw_hook_probe();
    }
    return -EINVAL;
}

size_t mw_possible_cpus(char *text, size_t capacity) {
    ssize_t n = mw_procfs_read(AT_FDCWD, "/sys/devices/system/cpu/possible",
                               text, capacity - 1);
    if (n <= 0)
        n = snprintf(text, capacity, "0-%ld",
                     sysconf(_SC_NPROCESSORS_CONF) - 1);
    text[n] = '\0';
    size_t length = strcspn(text, "\n");
    text[length] = '\0';
    return length;
}

int mw_initial_namespaces(void) {
    /* The inode numbers of the first namespaces are fixed: PROC_PID_INIT_INO
       and PROC_USER_INIT_INO of the kernel's proc_ns.h. */
    struct stat pid, user;
    return !stat("/proc/self/ns/pid", &pid) &&
           !stat("/proc/self/ns/user", &user) && pid.st_ino == 0xEFFFFFFCu &&
           user.st_ino == 0xEFFFFFFDu;
}
