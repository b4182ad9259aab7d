/*
 * libproc and sysctl on the table, as in xnu: which user may ask, what a zombie
 * still shows, and how each call fails.
 */
#include <libproc.h>

#include <errno.h>
#include <mach/mach_time.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

static const int64_t SECOND = 1000000000;

/* Private to xnu (bsd/sys/proc_info_private.h). */
enum { PROC_PIDUNIQIDENTIFIERINFO = 17 };

struct uniqidentifierinfo {
    uint8_t p_uuid[16];
    uint64_t p_uniqueid, p_puniqueid;
    int32_t p_idversion, p_orig_ppidversion;
    uint64_t p_reserve2, p_reserve3;
};

static int fail(int error) {
    errno = error;
    return -1;
}

/* Does what proc_find() does: finds no process that is exiting or has ended,
   unless `zombies` is set. */
static process *look_up(int32_t pid, int zombies) {
    if (fake.is_live)
        live_refresh(pid);
    process *p = find_process(pid);
    return p && (p->life <= DYING || zombies) ? p : NULL;
}

static int is_allowed(const process *p) {
    return !fake.my_uid || p->uid == fake.my_uid;
}

/* Makes an LC_UUID, which differs for each executable. */
static void fill_uuid(const process *p, uint8_t out[16]) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *at = p->path; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    memcpy(out, &hash, sizeof hash);
    memcpy(out + sizeof hash, &hash, sizeof hash);
}

static int64_t wall(const process *p) { return fake.boot + p->start; }

static uint32_t flags_of(const process *p) {
    return PROC_FLAG_LP64 | (p->executed ? PROC_FLAG_EXEC : 0) |
           (p->owned_by_kernel ? PROC_FLAG_SYSTEM : 0) |
           (p->life == DYING || p->life == EXITING ? PROC_FLAG_INEXIT : 0) |
           (p->pid == p->sid ? PROC_FLAG_SLEADER : 0);
}

static uint32_t state_of(const process *p) {
    return p->life == ZOMBIE ? SZOMB : SRUN;
}

/* Copies the name, cut to one less than MAXCOMLEN as xnu does it. */
static void copy_name(char *out, const process *p) {
    memcpy(out, p->comm, MAXCOMLEN);
    out[MAXCOMLEN - 1] = '\0';
}

static void fill_short(const process *p, struct proc_bsdshortinfo *out) {
    *out = (struct proc_bsdshortinfo){.pbsi_pid = (uint32_t)p->pid,
                                      .pbsi_ppid = (uint32_t)p->ppid,
                                      .pbsi_pgid = (uint32_t)p->pgid,
                                      .pbsi_status = state_of(p),
                                      .pbsi_flags = flags_of(p),
                                      .pbsi_uid = p->uid,
                                      .pbsi_ruid = p->uid,
                                      .pbsi_svuid = p->uid};
    copy_name(out->pbsi_comm, p);
}

static void fill_long(const process *p, struct proc_bsdinfo *out) {
    *out = (struct proc_bsdinfo){
        .pbi_flags = flags_of(p),
        .pbi_status = state_of(p),
        .pbi_xstatus = (uint32_t)p->status,
        .pbi_pid = (uint32_t)p->pid,
        .pbi_ppid = (uint32_t)p->ppid,
        .pbi_uid = p->uid,
        .pbi_ruid = p->uid,
        .pbi_svuid = p->uid,
        .pbi_pgid = (uint32_t)p->pgid,
        .pbi_start_tvsec = (uint64_t)(wall(p) / SECOND),
        .pbi_start_tvusec = (uint64_t)(wall(p) % SECOND / 1000)};
    copy_name(out->pbi_comm, p);
    memcpy(out->pbi_name, p->comm, sizeof p->comm);
}

static void fill_task(const process *p, struct proc_taskinfo *out) {
    *out = (struct proc_taskinfo){.pti_virtual_size = p->rss + (4ull << 30),
                                  .pti_resident_size = p->rss,
                                  .pti_total_user = to_ticks(p->user),
                                  .pti_total_system = to_ticks(p->system),
                                  .pti_threadnum = 1};
}

static void fill_folders(const process *p, struct proc_vnodepathinfo *out) {
    memset(out, 0, sizeof *out);
    memcpy(out->pvi_cdir.vip_path, p->cwd, sizeof p->cwd);
}

static void fill_unique(const process *p, struct uniqidentifierinfo *out) {
    *out = (struct uniqidentifierinfo){.p_uniqueid = p->unique,
                                       .p_puniqueid = p->parent_unique,
                                       .p_idversion = p->version,
                                       .p_orig_ppidversion = p->parent_version};
    fill_uuid(p, out->p_uuid);
}

/* Gives the size of a flavor, whether it needs permission, and its name
   here. */
static int flavor_of(int flavor, size_t *size, int *is_checked,
                     const char **what) {
    *is_checked = flavor == PROC_PIDTBSDINFO || flavor == PROC_PIDTASKINFO ||
                  flavor == PROC_PIDVNODEPATHINFO;
    switch (flavor) {
    case PROC_PIDTBSDINFO:
        *size = sizeof(struct proc_bsdinfo);
        *what = "bsdinfo";
        return 0;
    case PROC_PIDTASKINFO:
        *size = sizeof(struct proc_taskinfo);
        *what = "taskinfo";
        return 0;
    case PROC_PIDVNODEPATHINFO:
        *size = sizeof(struct proc_vnodepathinfo);
        *what = "vnodes";
        return 0;
    case PROC_PIDT_SHORTBSDINFO:
        *size = sizeof(struct proc_bsdshortinfo);
        *what = "shortinfo";
        return 0;
    case PROC_PIDUNIQIDENTIFIERINFO:
        *size = sizeof(struct uniqidentifierinfo);
        *what = "unique";
        return 0;
    default: return EINVAL;
    }
}

static int pidinfo(int pid, int flavor, uint64_t arg, void *buffer, int room) {
    size_t size = 0;
    int is_checked = 0;
    const char *what = "";
    int error = flavor_of(flavor, &size, &is_checked, &what);
    if (!error)
        error = ask(what);
    if (!error && (room < 0 || (size_t)room < size))
        error = ENOMEM;
    if (error)
        return fail(error);
    const process *p = look_up(pid, arg && flavor != PROC_PIDTASKINFO &&
                                        flavor != PROC_PIDVNODEPATHINFO);
    if (!p)
        return fail(ESRCH);
    if (is_checked && !is_allowed(p))
        return fail(EPERM);
    switch (flavor) {
    case PROC_PIDTBSDINFO: fill_long(p, buffer); break;
    case PROC_PIDTASKINFO: fill_task(p, buffer); break;
    case PROC_PIDT_SHORTBSDINFO: fill_short(p, buffer); break;
    case PROC_PIDVNODEPATHINFO: fill_folders(p, buffer); break;
    default: fill_unique(p, buffer); break;
    }
    return (int)size;
}

/* Fails with 0, not -1. */
int proc_pidinfo(int pid, int flavor, uint64_t arg, void *buffer, int size) {
    lock_machine();
    machine_now();
    int got = pidinfo(pid, flavor, arg, buffer, size);
    unlock_machine();
    return got < 0 ? 0 : got;
}

int proc_pidpath(int pid, void *buffer, uint32_t size) {
    int error = 0;
    size_t length = 0;
    if (size < PROC_PIDPATHINFO_SIZE)
        error = ENOMEM;
    else if (size > PROC_PIDPATHINFO_MAXSIZE)
        error = EOVERFLOW;
    lock_machine();
    machine_now();
    if (!error)
        error = ask("path");
    if (!error) {
        const process *p = look_up(pid, 0);
        if (!p || p->owned_by_kernel)
            error = ESRCH;
        else {
            length = strlen(p->path);
            memset(buffer, 0, size);
            memcpy(buffer, p->path, length);
        }
    }
    unlock_machine();
    if (error)
        errno = error;
    return (int)length;
}

static int rusage(int pid, int flavor, struct rusage_info_v4 *out) {
    int error = ask("rusage");
    if (error)
        return fail(error);
    const process *p = look_up(pid, 1);
    if (!p)
        return fail(ESRCH);
    if (!is_allowed(p))
        return fail(EPERM);
    if (flavor != RUSAGE_INFO_V4)
        return fail(EINVAL);
    *out = (struct rusage_info_v4){
        .ri_user_time = to_ticks(p->user),
        .ri_system_time = to_ticks(p->system),
        .ri_resident_size = p->rss,
        .ri_phys_footprint = p->footprint,
        .ri_proc_start_abstime = to_ticks(p->start),
        .ri_proc_exit_abstime = p->ended ? to_ticks(p->ended) : 0,
        .ri_child_elapsed_abstime = to_ticks(p->children_elapsed),
        .ri_diskio_bytesread = p->read,
        .ri_diskio_byteswritten = p->written,
        .ri_lifetime_max_phys_footprint = p->footprint_max};
    fill_uuid(p, out->ri_uuid);
    return 0;
}

int proc_pid_rusage(int pid, int flavor, rusage_info_t *buffer) {
    lock_machine();
    machine_now();
    int result = rusage(pid, flavor, (struct rusage_info_v4 *)(void *)buffer);
    unlock_machine();
    return result;
}

/* -- Lists -- */

static int is_listed(const process *p, uint32_t type, uint32_t which) {
    switch (type) {
    case PROC_ALL_PIDS: return 1;
    case PROC_PGRP_ONLY: return p->pgid == (int32_t)which;
    case PROC_PPID_ONLY: return p->ppid == (int32_t)which;
    default: return 0;
    }
}

/* Returns bytes. Fails with 0, not -1; pids that do not fit are left out. */
int proc_listpids(uint32_t type, uint32_t which, void *buffer, int size) {
    lock_machine();
    machine_now();
    if (fake.is_live)
        live_refresh_all();
    int *out = buffer;
    size_t room = size < 0 ? 0 : (size_t)size / sizeof *out, count = 0;
    int error = ask("scan");
    if (!error && buffer && !room)
        error = ENOMEM;
    if (!error && !buffer)
        count = fake.count + 20;
    else if (!error)
        for (size_t i = fake.count; i-- > 0 && count < room;)
            if (is_listed(&fake.table[i], type, which))
                out[count++] = fake.table[i].pid;
    unlock_machine();
    if (error)
        errno = error;
    return error ? 0 : (int)(count * sizeof *out);
}

static int count_of(int bytes) { return bytes / (int)sizeof(int); }

int proc_listallpids(void *buffer, int size) {
    return count_of(proc_listpids(PROC_ALL_PIDS, 0, buffer, size));
}

int proc_listpgrppids(pid_t pgid, void *buffer, int size) {
    return count_of(
        proc_listpids(PROC_PGRP_ONLY, (uint32_t)pgid, buffer, size));
}

int proc_listchildpids(pid_t ppid, void *buffer, int size) {
    return count_of(
        proc_listpids(PROC_PPID_ONLY, (uint32_t)ppid, buffer, size));
}

/* -- sysctl -- */

static void fill_kinfo(const process *p, struct kinfo_proc *out) {
    memset(out, 0, sizeof *out);
    out->kp_proc.p_starttime.tv_sec = wall(p) / SECOND;
    out->kp_proc.p_starttime.tv_usec = (int)(wall(p) % SECOND / 1000);
    out->kp_proc.p_flag = P_LP64 | (p->executed ? P_EXEC : 0);
    out->kp_proc.p_stat = (char)state_of(p);
    out->kp_proc.p_pid = p->pid;
    out->kp_proc.p_xstat = (unsigned short)p->status;
    memcpy(out->kp_proc.p_comm, p->comm, sizeof p->comm);
    out->kp_eproc.e_pcred.p_ruid = p->uid;
    out->kp_eproc.e_ucred.cr_uid = p->uid;
    out->kp_eproc.e_ppid = p->ppid;
    out->kp_eproc.e_pgid = p->life == ZOMBIE ? 0 : p->pgid;
}

static void grow(void) {
    for (int32_t pid = 90000; fake.grow_by > 0; pid++) {
        process *p = add_process(pid, LAUNCHD, "newcomer");
        if (p)
            fake.grow_by--;
    }
}

static void vanish(void) {
    process *p = fake.vanishing ? find_process(fake.vanishing) : NULL;
    fake.vanishing = 0;
    if (p)
        do_remove(p);
}

/* Lists processes, the newest first. Without a buffer it gives only the size,
   and some to spare; if some do not fit, they are left out, and the call
   fails. */
static int list_processes(int32_t pid, void *old, size_t *size) {
    int error = ask("scan");
    if (error)
        return error;
    if (fake.is_live)
        live_refresh_all();
    struct kinfo_proc one;
    size_t room = old ? *size : 0, needed = 0, used = 0;
    for (size_t i = fake.count; i-- > 0;) {
        if (pid >= 0 && fake.table[i].pid != pid)
            continue;
        needed += sizeof one;
        if (room - used < sizeof one)
            continue;
        fill_kinfo(&fake.table[i], &one);
        memcpy((char *)old + used, &one, sizeof one);
        used += sizeof one;
    }
    if (!old) {
        *size = needed + 5 * sizeof one;
        grow();
        return 0;
    }
    *size = used;
    vanish();
    return needed > used ? ENOMEM : 0;
}

static size_t round_up(size_t size) {
    return (size + PAGE - 1) & ~(size_t)(PAGE - 1);
}

/* Gives the strings on the stack of a process. If they do not fit, it gives the
   end of them; and of that the last bytes are zeros, as many as are missing to
   a whole page. */
static int show_arguments(int32_t pid, char *old, size_t *size) {
    int error = ask("args");
    if (error)
        return error;
    size_t room = old ? *size - sizeof(int) : 0;
    if (old && (!room || *size < sizeof(int) || room > ARGUMENTS_MAX))
        return EINVAL;
    const process *p = look_up(pid, 0);
    if (!p || !p->arguments)
        return EINVAL;
    size_t length = p->arguments_length;
    if (!old) {
        *size = length + sizeof(int) + PAGE;
        return 0;
    }
    if (!is_allowed(p))
        return EINVAL;
    memcpy(old, &p->argc, sizeof p->argc);
    old += sizeof p->argc;
    if (room >= length) {
        if (length)
            memcpy(old, p->arguments, length);
    } else {
        memcpy(old, p->arguments + (length - room), room);
        size_t zeros = round_up(room) - room;
        memset(old + (zeros < room ? room - zeros : 0), 0,
               zeros < room ? zeros : room);
        length = room;
    }
    *size = length + sizeof p->argc;
    return 0;
}

/* Copies a value to the caller: 0 or an errno. */
static int give(const void *value, size_t length, void *old, size_t *size) {
    if (old && *size < length)
        return ENOMEM;
    if (old)
        memcpy(old, value, length);
    *size = length;
    return 0;
}

static int show_boot(void *old, size_t *size) {
    struct timeval boot = {.tv_sec = fake.boot / SECOND,
                           .tv_usec = (int)(fake.boot % SECOND / 1000)};
    return give(&boot, sizeof boot, old, size);
}

static int by_number(const int *name, unsigned count, void *old, size_t *size) {
    int most = ARGUMENTS_MAX;
    if (count == 2 && name[0] == CTL_KERN && name[1] == KERN_ARGMAX)
        return give(&most, sizeof most, old, size);
    if (count == 2 && name[0] == CTL_KERN && name[1] == KERN_BOOTTIME)
        return show_boot(old, size);
    if (count == 3 && name[0] == CTL_KERN && name[1] == KERN_PROCARGS2)
        return show_arguments(name[2], old, size);
    if (count >= 3 && name[0] == CTL_KERN && name[1] == KERN_PROC &&
        name[2] == KERN_PROC_ALL)
        return list_processes(-1, old, size);
    if (count == 4 && name[0] == CTL_KERN && name[1] == KERN_PROC &&
        name[2] == KERN_PROC_PID)
        return list_processes(name[3], old, size);
    return ENOENT;
}

int sysctl(int *name, unsigned count, void *old, size_t *old_size, void *new,
           size_t new_size) {
    (void)new_size;
    lock_machine();
    machine_now();
    int error = new ? EPERM : by_number(name, count, old, old_size);
    unlock_machine();
    return error ? fail(error) : 0;
}

int sysctlbyname(const char *name, void *old, size_t *old_size, void *new,
                 size_t new_size) {
    (void)new_size;
    lock_machine();
    machine_now();
    uint64_t frequency = (uint64_t)SECOND * fake.denom / fake.numer;
    int translated = fake.is_translated, most = ARGUMENTS_MAX;
    int error = ENOENT;
    if (new)
        error = EPERM;
    else if (!strcmp(name, "hw.tbfrequency"))
        error = give(&frequency, sizeof frequency, old, old_size);
    else if (!strcmp(name, "kern.boottime"))
        error = show_boot(old, old_size);
    else if (!strcmp(name, "kern.argmax"))
        error = give(&most, sizeof most, old, old_size);
    else if (!strcmp(name, "sysctl.proc_translated"))
        error = give(&translated, sizeof translated, old, old_size);
    unlock_machine();
    return error ? fail(error) : 0;
}

/* -- Clocks -- */

kern_return_t mach_timebase_info(mach_timebase_info_t info) {
    lock_machine();
    info->numer = fake.is_translated ? 1 : fake.numer;
    info->denom = fake.is_translated ? 1 : fake.denom;
    unlock_machine();
    return KERN_SUCCESS;
}

uint64_t mach_continuous_time(void) {
    lock_machine();
    uint64_t now = to_seen_ticks(machine_now());
    unlock_machine();
    return now;
}

/* The machine never sleeps. */
uint64_t mach_absolute_time(void) { return mach_continuous_time(); }

uint64_t clock_gettime_nsec_np(clockid_t clock) {
    lock_machine();
    int64_t now = machine_now();
    if (clock == CLOCK_REALTIME)
        now += fake.boot;
    unlock_machine();
    return (uint64_t)now;
}
