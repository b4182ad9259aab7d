/* The part of macOS's header that the Darwin files use: what proc_pidinfo()
   fills. */
#ifndef FAKE_SYS_PROC_INFO_H
#define FAKE_SYS_PROC_INFO_H

#include <stdint.h>
#include <sys/param.h>
#include <sys/types.h>

#ifndef MAXCOMLEN
#define MAXCOMLEN 16
#endif

#define PROC_ALL_PIDS 1
#define PROC_PGRP_ONLY 2
#define PROC_PPID_ONLY 6

#define PROC_FLAG_SYSTEM 1
#define PROC_FLAG_INEXIT 4
#define PROC_FLAG_PPWAIT 8
#define PROC_FLAG_LP64 0x10
#define PROC_FLAG_SLEADER 0x20
#define PROC_FLAG_EXEC 0x4000

struct proc_bsdinfo {
    uint32_t pbi_flags, pbi_status, pbi_xstatus;
    uint32_t pbi_pid, pbi_ppid;
    uid_t pbi_uid;
    gid_t pbi_gid;
    uid_t pbi_ruid;
    gid_t pbi_rgid;
    uid_t pbi_svuid;
    gid_t pbi_svgid;
    uint32_t rfu_1;
    char pbi_comm[MAXCOMLEN];
    char pbi_name[2 * MAXCOMLEN];
    uint32_t pbi_nfiles, pbi_pgid, pbi_pjobc;
    uint32_t e_tdev, e_tpgid;
    int32_t pbi_nice;
    uint64_t pbi_start_tvsec, pbi_start_tvusec;
};

struct proc_bsdshortinfo {
    uint32_t pbsi_pid, pbsi_ppid, pbsi_pgid, pbsi_status;
    char pbsi_comm[MAXCOMLEN];
    uint32_t pbsi_flags;
    uid_t pbsi_uid;
    gid_t pbsi_gid;
    uid_t pbsi_ruid;
    gid_t pbsi_rgid;
    uid_t pbsi_svuid;
    gid_t pbsi_svgid;
    uint32_t pbsi_rfu;
};

/* Times in ticks of mach_absolute_time(). */
struct proc_taskinfo {
    uint64_t pti_virtual_size, pti_resident_size;
    uint64_t pti_total_user, pti_total_system;
    uint64_t pti_threads_user, pti_threads_system;
    int32_t pti_policy, pti_faults, pti_pageins, pti_cow_faults;
    int32_t pti_messages_sent, pti_messages_received;
    int32_t pti_syscalls_mach, pti_syscalls_unix;
    int32_t pti_csw, pti_threadnum, pti_numrunning, pti_priority;
};

struct vinfo_stat {
    uint32_t vst_dev;
    uint16_t vst_mode, vst_nlink;
    uint64_t vst_ino;
    uid_t vst_uid;
    gid_t vst_gid;
    int64_t vst_atime, vst_atimensec, vst_mtime, vst_mtimensec;
    int64_t vst_ctime, vst_ctimensec, vst_birthtime, vst_birthtimensec;
    off_t vst_size;
    int64_t vst_blocks;
    int32_t vst_blksize;
    uint32_t vst_flags, vst_gen, vst_rdev;
    int64_t vst_qspare[2];
};

struct vnode_info_path {
    struct vnode_info {
        struct vinfo_stat vi_stat;
        int vi_type, vi_pad;
        int32_t vi_fsid[2];
    } vip_vi;
    char vip_path[1024];
};

struct proc_vnodepathinfo {
    struct vnode_info_path pvi_cdir, pvi_rdir;
};

#define PROC_PIDTBSDINFO 3
#define PROC_PIDTBSDINFO_SIZE (sizeof(struct proc_bsdinfo))
#define PROC_PIDTASKINFO 4
#define PROC_PIDTASKINFO_SIZE (sizeof(struct proc_taskinfo))
#define PROC_PIDVNODEPATHINFO 9
#define PROC_PIDVNODEPATHINFO_SIZE (sizeof(struct proc_vnodepathinfo))
#define PROC_PIDPATHINFO 11
#define PROC_PIDPATHINFO_SIZE (1024)
#define PROC_PIDPATHINFO_MAXSIZE (4 * 1024)
#define PROC_PIDT_SHORTBSDINFO 13
#define PROC_PIDT_SHORTBSDINFO_SIZE (sizeof(struct proc_bsdshortinfo))

#endif
