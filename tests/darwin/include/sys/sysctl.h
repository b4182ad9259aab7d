/* The part of macOS's header that the Darwin files use: sysctl. */
#ifndef FAKE_SYS_SYSCTL_H
#define FAKE_SYS_SYSCTL_H

#include <stdint.h>
#include <sys/proc.h>
#include <sys/time.h>
#include <sys/types.h>

#define CTL_KERN 1
#define CTL_HW 6

#define KERN_ARGMAX 8
#define KERN_PROC 14
#define KERN_BOOTTIME 21
#define KERN_PROCARGS2 49

#define KERN_PROC_ALL 0
#define KERN_PROC_PID 1

struct kinfo_proc {
    struct extern_proc kp_proc;
    struct eproc {
        void *e_paddr, *e_sess;
        struct _pcred {
            char pc_lock[72];
            void *pc_ucred;
            uid_t p_ruid, p_svuid;
            gid_t p_rgid, p_svgid;
            int p_refcnt;
        } e_pcred;
        struct _ucred {
            int32_t cr_ref;
            uid_t cr_uid;
            short cr_ngroups;
            gid_t cr_groups[16];
        } e_ucred;
        struct {
            int32_t dummy;
            char *dummy2;
            int32_t dummy3[5];
            char *dummy4[3];
        } e_vm;
        pid_t e_ppid, e_pgid;
        short e_jobc;
        int32_t e_tdev;
        pid_t e_tpgid;
        void *e_tsess;
        char e_wmesg[8];
        int32_t e_xsize;
        short e_xrssize, e_xccount, e_xswrss;
        int32_t e_flag;
        char e_login[12];
        int32_t e_spare[4];
    } kp_eproc;
};

int sysctl(int *name, unsigned count, void *old, size_t *old_size, void *new,
           size_t new_size);
int sysctlbyname(const char *name, void *old, size_t *old_size, void *new,
                 size_t new_size);

#endif
