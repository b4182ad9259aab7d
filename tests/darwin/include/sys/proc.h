/* struct extern_proc: what sysctl(KERN_PROC) says of a process. Where Linux has
   a type of the same name and another size, its size here is Apple's. */
#ifndef FAKE_SYS_PROC_H
#define FAKE_SYS_PROC_H

#include <stdint.h>
#include <sys/proc_info.h>
#include <sys/time.h>

struct extern_proc {
    union {
        struct {
            void *__p_forw, *__p_back;
        } p_st1;
        struct timeval __p_starttime;
    } p_un;
#define p_starttime p_un.__p_starttime
    void *p_vmspace, *p_sigacts;
    int p_flag;
    char p_stat;
    pid_t p_pid;
    pid_t p_oppid;
    int p_dupfd;
    char *user_stack;
    void *exit_thread;
    int p_debugger;
    int sigwait;
    unsigned p_estcpu;
    int p_cpticks;
    uint32_t p_pctcpu;
    void *p_wchan;
    char *p_wmesg;
    unsigned p_swtime, p_slptime;
    struct itimerval p_realtimer;
    struct timeval p_rtime;
    uint64_t p_uticks, p_sticks, p_iticks;
    int p_traceflag;
    void *p_tracep;
    int p_siglist;
    void *p_textvp;
    int p_holdcnt;
    uint32_t p_sigmask, p_sigignore, p_sigcatch;
    unsigned char p_priority, p_usrpri;
    char p_nice;
    char p_comm[MAXCOMLEN + 1];
    void *p_pgrp, *p_addr;
    unsigned short p_xstat, p_acflag;
    void *p_ru;
};

#define SIDL 1
#define SRUN 2
#define SSLEEP 3
#define SSTOP 4
#define SZOMB 5

#define P_LP64 0x00000004
#define P_EXEC 0x00004000

#endif
