/* The program of the seccomp filter, and how it is set. */
#include "exit_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "notification.h"

#ifndef PR_SET_NO_NEW_PRIVS
#define PR_SET_NO_NEW_PRIVS 38
#endif
#ifndef AUDIT_ARCH_ARM
#define AUDIT_ARCH_ARM (40 | 0x40000000)
#endif
#ifndef AUDIT_ARCH_AARCH64
#define AUDIT_ARCH_AARCH64 (183 | 0x80000000 | 0x40000000)
#endif

/* The calls of each ABI that the machine's kernel may run: its own, that of
   32-bit programs, x32. From the kernel's syscall.tbl files and
   asm-generic/unistd.h. Calls of one architecture must stand together. */
static const struct {
    uint32_t architecture; /* 0: an architecture that is not known */
    uint32_t number;
    enum mw_filter_call call;
} calls[] = {
#if defined __x86_64__
    {AUDIT_ARCH_X86_64, 231, MW_CALL_EXIT},
    {AUDIT_ARCH_X86_64, 59, MW_CALL_EXEC},
    {AUDIT_ARCH_X86_64, 322, MW_CALL_EXEC},
    {AUDIT_ARCH_X86_64, 0x40000000 + 231, MW_CALL_EXIT},
    {AUDIT_ARCH_X86_64, 0x40000000 + 520, MW_CALL_EXEC},
    {AUDIT_ARCH_X86_64, 0x40000000 + 545, MW_CALL_EXEC},
    {AUDIT_ARCH_I386, 252, MW_CALL_EXIT},
    {AUDIT_ARCH_I386, 11, MW_CALL_EXEC},
    {AUDIT_ARCH_I386, 358, MW_CALL_EXEC},
#elif defined __aarch64__
    {AUDIT_ARCH_AARCH64, 94, MW_CALL_EXIT},
    {AUDIT_ARCH_AARCH64, 221, MW_CALL_EXEC},
    {AUDIT_ARCH_AARCH64, 281, MW_CALL_EXEC},
    {AUDIT_ARCH_ARM, 248, MW_CALL_EXIT},
    {AUDIT_ARCH_ARM, 11, MW_CALL_EXEC},
    {AUDIT_ARCH_ARM, 387, MW_CALL_EXEC},
#else
    {0, 0, MW_CALL_OTHER},
#endif
};

enum { COUNT = sizeof calls / sizeof *calls };

/* The program has two instructions for each call, four for each architecture,
   one at the end. */
enum { LARGEST_PROGRAM = 6 * COUNT + 1 };

enum mw_filter_call mw_filter_call(uint32_t architecture, uint32_t number) {
    for (int i = 0; i < COUNT; i++)
        if (calls[i].architecture == architecture && calls[i].number == number)
            return calls[i].call;
    return MW_CALL_OTHER;
}

static struct sock_filter load(size_t offset) {
    return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                        (uint32_t)offset);
}

static struct sock_filter skip_unless(uint32_t value, int count) {
    return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0,
                                        (uint8_t)count);
}

static struct sock_filter give(uint32_t action) {
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
}

/* Writes the program. It has only instructions that the kernel can emulate
   (Linux 5.11), which then knows in advance which calls always pass, and does
   not run the program for those. */
static size_t write_program(struct sock_filter *to) {
    size_t length = 0;
    for (int i = 0; i < COUNT;) {
        uint32_t architecture = calls[i].architecture;
        int end = i;
        while (end < COUNT && calls[end].architecture == architecture)
            end++;
        to[length++] = load(offsetof(struct seccomp_data, arch));
        to[length++] = skip_unless(architecture, 2 * (end - i) + 2);
        to[length++] = load(offsetof(struct seccomp_data, nr));
        for (; i < end; i++) {
            to[length++] = skip_unless(calls[i].number, 1);
            to[length++] = give(SECCOMP_RET_USER_NOTIF);
        }
        to[length++] = give(SECCOMP_RET_ALLOW);
    }
    to[length++] = give(SECCOMP_RET_ALLOW);
    return length;
}

/* Returns whether this is Linux 5.9 or later. Before that a listener does not
   notice that no process is left under the filter, and the guardian would never
   end. */
static int is_recent(void) {
    struct utsname name;
    if (uname(&name))
        return 0;
    int version[2] = {0, 0};
    const char *at = name.release;
    for (int i = 0; i < 2; i++) {
        for (; *at >= '0' && *at <= '9' && version[i] < 1000; at++)
            version[i] = version[i] * 10 + (*at - '0');
        if (*at == '.')
            at++;
    }
    return version[0] > 5 || (version[0] == 5 && version[1] >= 9);
}

static int set_filter(const struct sock_fprog *program, unsigned long flags) {
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
    return fd < 0 ? -errno : (int)fd;
}

/* Sets the filter with the best flags that the kernel knows. */
static int set_filter_well(const struct sock_fprog *program) {
    /*
     * WAIT_KILLABLE_RECV (Linux 5.19): once the guardian has received a call,
     * only a fatal signal interrupts it. Before that, or without this flag, a
     * handler without SA_RESTART makes exit_group return EINTR. C libraries
     * then end the thread only: the guardian never sees the process exit, and
     * its other threads go on.
     *
     * SPEC_ALLOW: without it, Linux before 5.16 slows the job down with
     * mitigations of speculation.
     */
    static const unsigned long flags[] = {
        SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0};
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof flags / sizeof *flags && result == -EINVAL;
         i++)
        result =
            set_filter(program, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags[i]);
    return result;
}

int mw_filter_install(void) {
    if (!calls[0].architecture || !is_recent())
        return -ENOTSUP;
    struct sock_filter instructions[LARGEST_PROGRAM];
    struct sock_fprog program = {.filter = instructions};
    program.len = (unsigned short)write_program(instructions);
    /* First without no_new_privs: with the privilege, sudo keeps working in the
       job. */
    int result = set_filter_well(&program);
    if (result != -EACCES)
        return result;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul))
        return -errno;
    return set_filter_well(&program);
}
