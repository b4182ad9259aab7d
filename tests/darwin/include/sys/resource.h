/* What this header has on macOS and not on Linux. */
#include_next <sys/resource.h>

#ifndef FAKE_SYS_RESOURCE_H
#define FAKE_SYS_RESOURCE_H

#include <stdint.h>

#define RUSAGE_INFO_V4 4

typedef void *rusage_info_t;

/* Times in ticks of mach_absolute_time(). */
struct rusage_info_v4 {
    uint8_t ri_uuid[16];
    uint64_t ri_user_time, ri_system_time;
    uint64_t ri_pkg_idle_wkups, ri_interrupt_wkups, ri_pageins;
    uint64_t ri_wired_size, ri_resident_size, ri_phys_footprint;
    uint64_t ri_proc_start_abstime, ri_proc_exit_abstime;
    uint64_t ri_child_user_time, ri_child_system_time;
    uint64_t ri_child_pkg_idle_wkups, ri_child_interrupt_wkups;
    uint64_t ri_child_pageins, ri_child_elapsed_abstime;
    uint64_t ri_diskio_bytesread, ri_diskio_byteswritten;
    uint64_t ri_cpu_time_qos_default, ri_cpu_time_qos_maintenance;
    uint64_t ri_cpu_time_qos_background, ri_cpu_time_qos_utility;
    uint64_t ri_cpu_time_qos_legacy, ri_cpu_time_qos_user_initiated;
    uint64_t ri_cpu_time_qos_user_interactive;
    uint64_t ri_billed_system_time, ri_serviced_system_time;
    uint64_t ri_logical_writes, ri_lifetime_max_phys_footprint;
    uint64_t ri_instructions, ri_cycles;
    uint64_t ri_billed_energy, ri_serviced_energy;
    uint64_t ri_interval_max_phys_footprint, ri_runnable_time;
};

/* The linker does not wrap this one, because libFuzzer calls it as well. */
int fake_getrusage(int who, struct rusage *used);
#define getrusage(who, used) fake_getrusage(who, used)

#endif
