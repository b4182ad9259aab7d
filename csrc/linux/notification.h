/*
 * What <linux/seccomp.h> defines, for headers that are older than the kernel:
 * seccomp(2), seccomp_unotify(2).
 */
#ifndef MW_LINUX_NOTIFICATION_H
#define MW_LINUX_NOTIFICATION_H

#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#if !defined SYS_seccomp && defined __x86_64__
#define SYS_seccomp 317
#elif !defined SYS_seccomp && defined __aarch64__
#define SYS_seccomp 277
#elif !defined SYS_seccomp
#define SYS_seccomp (-1)
#endif

#ifndef SECCOMP_SET_MODE_FILTER
#define SECCOMP_SET_MODE_FILTER 1
#endif
#ifndef SECCOMP_GET_NOTIF_SIZES
#define SECCOMP_GET_NOTIF_SIZES 3
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1ul << 2)
#endif
#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1ul << 3)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1ul << 5)
#endif
#ifndef SECCOMP_RET_ALLOW
#define SECCOMP_RET_ALLOW 0x7fff0000u
#endif
#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000u
#endif

/* struct seccomp_notif_sizes, seccomp_notif and seccomp_notif_resp. */
typedef struct mw_notification_sizes {
    uint16_t notification;
    uint16_t response;
    uint16_t data;
} mw_notification_sizes;

typedef struct mw_notification {
    uint64_t id;
    uint32_t tid; /* as the reader's pid namespace has it; 0: not in it */
    uint32_t flags;
    int32_t number;
    uint32_t architecture;
    uint64_t instruction_pointer;
    uint64_t args[6];
} mw_notification;

typedef struct mw_response {
    uint64_t id;
    int64_t value;
    int32_t error;
    uint32_t flags;
} mw_response;

#define MW_RESPONSE_CONTINUE 1u
#define MW_NOTIFICATION_RECV _IOWR('!', 0, mw_notification)
#define MW_NOTIFICATION_SEND _IOWR('!', 1, mw_response)
/* Until Linux 5.17 its direction was given the wrong way round: IOR. */
#define MW_NOTIFICATION_ID_VALID _IOW('!', 2, uint64_t)
#define MW_NOTIFICATION_ID_VALID_BEFORE _IOR('!', 2, uint64_t)
#define MW_NOTIFICATION_SET_FLAGS _IOW('!', 4, uint64_t)
#define MW_NOTIFICATION_SYNC_WAKE_UP 1ul

#endif
