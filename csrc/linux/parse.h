/*
 * Parsers of the text in /proc: buffer in, struct out, no system call. A buffer
 * need not end in NUL. Each returns 0, or -EINVAL for text that is not what
 * proc_pid_stat(5) and its sisters describe, for example because it was cut.
 */
#ifndef MW_LINUX_PARSE_H
#define MW_LINUX_PARSE_H

#include <stddef.h>
#include <stdint.h>

/* Bits of mw_stat.flags: the process is exiting; it was forked and has executed
   nothing since. */
#define PF_EXITING 0x4u
#define PF_FORKNOEXEC 0x40u

typedef struct mw_stat {
    int32_t pid;           /* field 1 */
    char comm[64];         /* 2, without the parentheses; the kernel's own names
                              are 15 bytes, kernel threads' up to 63 */
    char state;            /* 3 */
    int32_t ppid;          /* 4 */
    uint32_t flags;        /* 9: PF_* of the kernel's sched.h */
    uint64_t faults;       /* 10 and 12: minor and major page faults, of all
                              threads */
    uint64_t user_ticks;   /* 14: clock ticks, of all threads */
    uint64_t system_ticks; /* 15 */
    int64_t threads;       /* 20; at least one */
    uint64_t start_ticks;  /* 22: clock ticks since boot */
    uint64_t start_code;   /* 26; 0 without memory and in the middle of execve,
                              1 when the reader may not know */
    uint64_t start_stack;  /* 28; 0 when the reader may not know */
} mw_stat;

/* Parses `stat`. -ESRCH: the process was released while it was read, and most
   fields are zero. */
int mw_parse_stat(const char *text, size_t length, mw_stat *out);

/* Returns the exec id: see mw_image. */
uint64_t mw_exec_id(const mw_stat *stat);

typedef struct mw_statm {
    uint64_t size; /* pages, as all of these */
    uint64_t resident;
    uint64_t shared; /* of `resident`: of files and of shared memory */
    uint64_t text;
} mw_statm;

int mw_parse_statm(const char *text, size_t length, mw_statm *out);

/* Finds VmHWM in `status`, in bytes: 1, or 0 if it is not there. */
int mw_parse_watermark(const char *text, size_t length, uint64_t *bytes);

/* Finds RssShmem, VmSwap and HugetlbPages in `status`, in bytes: 1, or 0 if
   RssShmem is not there, as before Linux 4.5 and without memory, or the text is
   cut. What else is missing is 0: the kernel was built without it. */
int mw_parse_parts(const char *text, size_t length, uint64_t *shmem,
                   uint64_t *swapped, uint64_t *huge);

/* Finds Hugetlb in `meminfo`, the huge pages that are reserved, in bytes: 1, or
   0 if it is not there. */
int mw_parse_huge_pages(const char *text, size_t length, uint64_t *bytes);

/* Finds in `vmstat` how many transparent huge pages processes have got, by page
   faults and by the kernel's collapsing of small pages: 1, or 0 if that is not
   there. */
int mw_parse_huge_faults(const char *text, size_t length, uint64_t *pages);

/* Returns Tgid of `status`, the process that a thread belongs to, or 0. */
int32_t mw_parse_tgid(const char *text, size_t length);

/* Finds Pss in `smaps_rollup`, in bytes: 1, or 0 if it is not there. */
int mw_parse_pss(const char *text, size_t length, uint64_t *bytes);

/* Does the same for Pss_Anon (Linux 5.4). */
int mw_parse_pss_anonymous(const char *text, size_t length, uint64_t *bytes);

/* Finds Pss_Shmem (Linux 5.4), SwapPss and Private_Hugetlb, in bytes; 0 for
   what is not there. */
void mw_parse_pss_parts(const char *text, size_t length, uint64_t *shmem,
                        uint64_t *swapped, uint64_t *huge);

/* Finds MemAvailable in `meminfo`, in bytes: 1, or 0 if it is not there. */
int mw_parse_available(const char *text, size_t length, uint64_t *bytes);

/* Parses a file that has one number, as those of control groups: 1, or 0 if it
   has none. */
int mw_parse_number(const char *text, size_t length, uint64_t *number);

/* Finds in `memory.stat` of a control group the bytes of its page cache that
   can be dropped, with those of the groups below it: 1, or 0 if it is not
   there. Version 1 has another name for it than version 2. */
int mw_parse_inactive_file(const char *text, size_t length, int version,
                           uint64_t *bytes);

/*
 * Parses the next pid of a `children` list from `*offset` on: 1 and `*pid`, or
 * 0 at the end. A number that the end of the buffer may have cut is not taken
 * unless `last`.
 */
int mw_parse_child(const char *text, size_t length, int last, size_t *offset,
                   int32_t *pid);

/* Returns the name of a directory entry as a pid, or 0 if it is none. */
int32_t mw_parse_pid(const char *name);

#endif
