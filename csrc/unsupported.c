/*
 * A platform that memwatch does not know: it builds, and every function returns
 * -ENOTSUP. Copy this file to begin a port, and split it into the files that
 * the headings name; platform.h and api.h say what each function must do.
 */
#include <errno.h>

#include "clock.h"
#include "platform.h"

/* -- platform.c ------------------------------------------------------------ */

int mw_platform_open(const mw_sampler_options *options, mw_platform **out) {
    (void)options;
    *out = NULL;
    return -ENOTSUP;
}

void mw_platform_close(mw_platform *platform) { (void)platform; }

int mw_platform_enter_thread(mw_platform *platform, int32_t root_pid) {
    (void)platform, (void)root_pid;
    return -ENOTSUP;
}

int mw_platform_wait(mw_platform *platform, int64_t deadline) {
    (void)platform, (void)deadline;
    return MW_WAITED_STOP;
}

void mw_platform_stop(mw_platform *platform) { (void)platform; }

void mw_platform_wake_on_events(mw_platform *platform, int wake) {
    (void)platform, (void)wake;
}

int mw_platform_events(mw_platform *platform, int closing, mw_event_list *out) {
    (void)platform, (void)closing, (void)out;
    return -ENOTSUP;
}

uint32_t mw_platform_sources(const mw_platform *platform) {
    (void)platform;
    return 0;
}

int mw_platform_discover(mw_platform *platform,
                         int (*is_member)(const void *, int32_t),
                         const void *members, mw_pids *found) {
    (void)platform, (void)is_member, (void)members, (void)found;
    return -ENOTSUP;
}

void mw_platform_stats(const mw_platform *platform, mw_sampler_stats *out) {
    (void)platform, (void)out;
}

/* -- process.c ------------------------------------------------------------- */

int mw_platform_attach(mw_platform *platform, int32_t pid, mw_handle **out,
                       mw_identity *identity) {
    (void)platform, (void)pid, (void)identity;
    *out = NULL;
    return -ENOTSUP;
}

void mw_platform_detach(mw_platform *platform, mw_handle *handle) {
    (void)platform, (void)handle;
}

int mw_platform_poll(mw_platform *platform, mw_handle *handle, int64_t now,
                     mw_reading *out, mw_pids *found) {
    (void)platform, (void)handle, (void)now, (void)out, (void)found;
    return -ENOTSUP;
}

int mw_platform_inspect(mw_platform *platform, mw_handle *handle,
                        mw_inspection *out) {
    (void)platform, (void)handle, (void)out;
    return -ENOTSUP;
}

void mw_platform_image(mw_platform *platform, mw_handle *handle, char *text,
                       size_t capacity, mw_image *out) {
    (void)platform, (void)handle, (void)text, (void)capacity;
    *out = (mw_image){0};
}

int mw_platform_reap(mw_platform *platform, mw_handle *handle, int *status,
                     uint64_t *peak) {
    (void)platform, (void)handle, (void)status;
    *peak = 0;
    return 0;
}

/* -- memory.c -------------------------------------------------------------- */

int mw_platform_pss(const mw_platform *platform, int32_t pid, mw_shares *out) {
    (void)platform, (void)pid;
    *out = (mw_shares){0};
    return -ENOTSUP;
}

int mw_platform_memory(const mw_platform *platform, int32_t pid,
                       mw_memory *out) {
    (void)platform, (void)pid;
    *out = (mw_memory){0};
    return -ENOTSUP;
}

uint64_t mw_platform_roughness(const mw_platform *platform) {
    (void)platform;
    return 0;
}

uint64_t mw_platform_page(const mw_platform *platform) {
    (void)platform;
    return 4096;
}

uint64_t mw_platform_huge_faults(const mw_platform *platform) {
    (void)platform;
    return 0;
}

int mw_platform_shares_memory(const mw_platform *platform, int32_t pid,
                              int32_t other) {
    (void)platform, (void)pid, (void)other;
    return 0;
}

/* -- available.c ----------------------------------------------------------- */

int mw_platform_available(mw_platform *platform, uint64_t enough,
                          uint64_t *bytes, int *in_group) {
    (void)platform, (void)enough;
    *bytes = 0;
    *in_group = 0;
    return -ENOTSUP;
}

/* -- written.c ------------------------------------------------------------- */

int mw_platform_written(const mw_platform *platform, int32_t pid,
                        void (*found)(void *context, const mw_written *file),
                        void *context) {
    (void)platform, (void)pid, (void)found, (void)context;
    return -ENOTSUP;
}

enum mw_written_state mw_platform_written_again(const mw_platform *platform,
                                                mw_written *file) {
    (void)platform, (void)file;
    return MW_WRITTEN_GONE;
}

/* -- signal_job.c ---------------------------------------------------------- */

int mw_platform_signal_job(const mw_platform *platform, int number, int reap,
                           mw_pids *found) {
    (void)platform, (void)number, (void)reap, (void)found;
    return -ENOTSUP;
}

/* -- signals.c ------------------------------------------------------------- */

int mw_signals_open(uint64_t signals) {
    (void)signals;
    return -ENOTSUP;
}

int mw_signals_next(int fd, mw_signal *out) {
    (void)fd, (void)out;
    return -ENOTSUP;
}

/* -- host.c ---------------------------------------------------------------- */

int64_t mw_now(void) { return mw_read_clock(CLOCK_MONOTONIC); }

int mw_subreaper(int enable, int *previous) {
    (void)enable;
    *previous = 0;
    return -ENOTSUP;
}

int mw_own_usage(mw_usage *out) {
    *out = (mw_usage){0};
    return -ENOTSUP;
}

const char *mw_backend(void) { return "unsupported"; }

void mw_platform_name_thread(const char *name) { (void)name; }

extern char **environ;

void mw_platform_set_environment(char *const envp[]) {
    environ = (char **)envp;
}

/* -- probe.c --------------------------------------------------------------- */

int mw_probe(uint32_t source) {
    (void)source;
    return -ENOTSUP;
}

/* -- hook.c ---------------------------------------------------------------- */

int mw_hook_new(mw_hook **out) {
    *out = NULL;
    return -ENOTSUP;
}

int mw_hook_state(const mw_hook *hook) {
    (void)hook;
    return -ENOTSUP;
}

void mw_hook_free(mw_hook *hook) { (void)hook; }

void mw_hook_install(mw_hook *hook) { (void)hook; }

/* -- scan.c ---------------------------------------------------------------- */

int mw_scan(const char *proc_root, mw_process *out, size_t capacity,
            size_t *count) {
    (void)proc_root, (void)out, (void)capacity;
    *count = 0;
    return -ENOTSUP;
}
