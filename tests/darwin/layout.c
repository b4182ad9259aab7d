/*
 * What csrc/darwin relies on in macOS's structs, numbers and calls. It compiles
 * with Apple's headers, for both architectures, and with those in include/, so
 * that the tests on Linux use what macOS has.
 */
#include <libproc.h>
#include <mach/mach_time.h>
#include <stddef.h>
#include <sys/event.h>
#include <sys/proc_info.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#include <time.h>

#define SIZE(type, size)                                                       \
    _Static_assert(sizeof(type) == (size), "size of " #type)
#define AT(type, member, offset)                                               \
    _Static_assert(offsetof(type, member) == (offset), #type "." #member)
#define WIDE(type, member, size)                                               \
    _Static_assert(sizeof(((type *)0)->member) == (size),                      \
                   "size of " #type "." #member)
#define IS(name, value) _Static_assert((name) == (value), #name)

SIZE(struct proc_bsdinfo, 136);
AT(struct proc_bsdinfo, pbi_flags, 0);
AT(struct proc_bsdinfo, pbi_status, 4);
AT(struct proc_bsdinfo, pbi_xstatus, 8);
AT(struct proc_bsdinfo, pbi_pid, 12);
AT(struct proc_bsdinfo, pbi_ppid, 16);
AT(struct proc_bsdinfo, pbi_uid, 20);
AT(struct proc_bsdinfo, pbi_ruid, 28);
AT(struct proc_bsdinfo, pbi_svuid, 36);
AT(struct proc_bsdinfo, pbi_comm, 48);
AT(struct proc_bsdinfo, pbi_name, 64);
AT(struct proc_bsdinfo, pbi_pgid, 100);
AT(struct proc_bsdinfo, pbi_nice, 116);
AT(struct proc_bsdinfo, pbi_start_tvsec, 120);
AT(struct proc_bsdinfo, pbi_start_tvusec, 128);

SIZE(struct proc_bsdshortinfo, 64);
AT(struct proc_bsdshortinfo, pbsi_pid, 0);
AT(struct proc_bsdshortinfo, pbsi_ppid, 4);
AT(struct proc_bsdshortinfo, pbsi_pgid, 8);
AT(struct proc_bsdshortinfo, pbsi_status, 12);
AT(struct proc_bsdshortinfo, pbsi_comm, 16);
AT(struct proc_bsdshortinfo, pbsi_flags, 32);
AT(struct proc_bsdshortinfo, pbsi_uid, 36);
AT(struct proc_bsdshortinfo, pbsi_svuid, 52);

SIZE(struct proc_taskinfo, 96);
AT(struct proc_taskinfo, pti_virtual_size, 0);
AT(struct proc_taskinfo, pti_resident_size, 8);
AT(struct proc_taskinfo, pti_total_user, 16);
AT(struct proc_taskinfo, pti_total_system, 24);
AT(struct proc_taskinfo, pti_threads_system, 40);
AT(struct proc_taskinfo, pti_policy, 48);
AT(struct proc_taskinfo, pti_threadnum, 84);

SIZE(struct proc_vnodepathinfo, 2352);
AT(struct proc_vnodepathinfo, pvi_cdir.vip_path, 152);
WIDE(struct proc_vnodepathinfo, pvi_cdir.vip_path, 1024);
AT(struct proc_vnodepathinfo, pvi_rdir, 1176);

SIZE(struct rusage_info_v4, 296);
AT(struct rusage_info_v4, ri_user_time, 16);
AT(struct rusage_info_v4, ri_system_time, 24);
AT(struct rusage_info_v4, ri_wired_size, 56);
AT(struct rusage_info_v4, ri_resident_size, 64);
AT(struct rusage_info_v4, ri_phys_footprint, 72);
AT(struct rusage_info_v4, ri_proc_start_abstime, 80);
AT(struct rusage_info_v4, ri_proc_exit_abstime, 88);
AT(struct rusage_info_v4, ri_diskio_bytesread, 144);
AT(struct rusage_info_v4, ri_diskio_byteswritten, 152);
AT(struct rusage_info_v4, ri_lifetime_max_phys_footprint, 240);
AT(struct rusage_info_v4, ri_interval_max_phys_footprint, 280);

SIZE(struct kinfo_proc, 648);
AT(struct kinfo_proc, kp_proc.p_starttime, 0);
AT(struct kinfo_proc, kp_proc.p_flag, 32);
AT(struct kinfo_proc, kp_proc.p_stat, 36);
AT(struct kinfo_proc, kp_proc.p_pid, 40);
AT(struct kinfo_proc, kp_proc.p_comm, 243);
WIDE(struct kinfo_proc, kp_proc.p_comm, 17);
AT(struct kinfo_proc, kp_proc.p_xstat, 280);
AT(struct kinfo_proc, kp_eproc.e_pcred.p_ruid, 392);
AT(struct kinfo_proc, kp_eproc.e_ucred.cr_uid, 420);
AT(struct kinfo_proc, kp_eproc.e_ppid, 560);
AT(struct kinfo_proc, kp_eproc.e_pgid, 564);
AT(struct kinfo_proc, kp_eproc.e_tdev, 572);
WIDE(struct kinfo_proc, kp_eproc.e_tdev, 4);
AT(struct kinfo_proc, kp_eproc.e_flag, 612);

SIZE(struct kevent, 32);
AT(struct kevent, ident, 0);
AT(struct kevent, filter, 8);
AT(struct kevent, flags, 10);
AT(struct kevent, fflags, 12);
AT(struct kevent, data, 16);
AT(struct kevent, udata, 24);

SIZE(struct mach_timebase_info, 8);
AT(struct mach_timebase_info, denom, 4);

IS(PROC_ALL_PIDS, 1);
IS(PROC_PGRP_ONLY, 2);
IS(PROC_PPID_ONLY, 6);
IS(PROC_PIDTBSDINFO, 3);
IS(PROC_PIDTASKINFO, 4);
IS(PROC_PIDVNODEPATHINFO, 9);
IS(PROC_PIDT_SHORTBSDINFO, 13);
IS(PROC_PIDTBSDINFO_SIZE, 136);
IS(PROC_PIDT_SHORTBSDINFO_SIZE, 64);
IS(PROC_PIDTASKINFO_SIZE, 96);
IS(PROC_PIDPATHINFO_SIZE, 1024);
IS(PROC_PIDPATHINFO_MAXSIZE, 4096);
IS(PROC_FLAG_SYSTEM, 1);
IS(PROC_FLAG_INEXIT, 4);
IS(PROC_FLAG_PPWAIT, 8);
IS(PROC_FLAG_LP64, 0x10);
IS(PROC_FLAG_SLEADER, 0x20);
IS(PROC_FLAG_EXEC, 0x4000);
IS(MAXCOMLEN, 16);
IS(RUSAGE_INFO_V4, 4);

IS(CTL_KERN, 1);
IS(CTL_HW, 6);
IS(KERN_ARGMAX, 8);
IS(KERN_PROC, 14);
IS(KERN_BOOTTIME, 21);
IS(KERN_PROCARGS2, 49);
IS(KERN_PROC_ALL, 0);
IS(KERN_PROC_PID, 1);
IS(SIDL, 1);
IS(SRUN, 2);
IS(SSLEEP, 3);
IS(SSTOP, 4);
IS(SZOMB, 5);
IS(P_LP64, 0x4);
IS(P_EXEC, 0x4000);

IS(EVFILT_READ, -1);
IS(EVFILT_PROC, -5);
IS(EVFILT_SIGNAL, -6);
IS(EVFILT_USER, -10);
IS(EV_ADD, 0x1);
IS(EV_DELETE, 0x2);
IS(EV_ENABLE, 0x4);
IS(EV_DISABLE, 0x8);
IS(EV_ONESHOT, 0x10);
IS(EV_CLEAR, 0x20);
IS(EV_RECEIPT, 0x40);
IS(EV_ERROR, 0x4000);
IS(EV_EOF, 0x8000);
IS(NOTE_TRIGGER, 0x01000000);
IS(NOTE_EXIT, 0x80000000);
IS(NOTE_FORK, 0x40000000);
IS(NOTE_EXEC, 0x20000000);
IS(NOTE_EXITSTATUS, 0x04000000);
IS(NOTE_PDATAMASK, 0xfffff);
IS(NOTE_TRACK, 1);

/* The functions that are called: the compiler compares these declarations with
   those of the headers. */
int proc_listpids(uint32_t, uint32_t, void *, int);
int proc_listallpids(void *, int);
int proc_listpgrppids(pid_t, void *, int);
int proc_listchildpids(pid_t, void *, int);
int proc_pidinfo(int, int, uint64_t, void *, int);
int proc_pidpath(int, void *, uint32_t);
int proc_pid_rusage(int, int, rusage_info_t *);
int kqueue(void);
int kevent(int, const struct kevent *, int, struct kevent *, int,
           const struct timespec *);
int sysctl(int *, unsigned, void *, size_t *, void *, size_t);
int sysctlbyname(const char *, void *, size_t *, void *, size_t);
uint64_t mach_absolute_time(void);
uint64_t mach_continuous_time(void);
kern_return_t mach_timebase_info(mach_timebase_info_t);
uint64_t clock_gettime_nsec_np(clockid_t);
