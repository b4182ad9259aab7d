/* The part of macOS's libproc that the Darwin files use, for their tests on
   Linux: the same names, types and numbers, compared with Apple's by
   ../layout.c. */
#ifndef FAKE_LIBPROC_H
#define FAKE_LIBPROC_H

#include <stdint.h>
#include <sys/proc_info.h>
#include <sys/resource.h>
#include <sys/types.h>

int proc_listpids(uint32_t type, uint32_t typeinfo, void *buffer, int size);
int proc_listallpids(void *buffer, int size);
int proc_listpgrppids(pid_t pgid, void *buffer, int size);
int proc_listchildpids(pid_t ppid, void *buffer, int size);
int proc_pidinfo(int pid, int flavor, uint64_t arg, void *buffer, int size);
int proc_pidpath(int pid, void *buffer, uint32_t size);
int proc_pid_rusage(int pid, int flavor, rusage_info_t *buffer);

#endif
