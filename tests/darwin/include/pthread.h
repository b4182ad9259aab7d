/* pthread_setname_np() names only the calling thread on macOS: it has one
   argument less than on Linux. */
#ifndef FAKE_PTHREAD_H
#define FAKE_PTHREAD_H

#define pthread_setname_np linux_pthread_setname_np
#include_next <pthread.h>
#undef pthread_setname_np

int fake_pthread_setname_np(const char *name);
#define pthread_setname_np fake_pthread_setname_np

#endif
