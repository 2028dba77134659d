/* doctor_machine.c - the kernel: its clock, and the limits that a growing deployment meets first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>

#include "cli/doctor_checks.h"
#include "common/cleanup.h"

#define FILES_WANTED      65536 /* two of HAProxy's for each request under way, one of the provisioner's an instance */
#define BACKLOG_WANTED    1024  /* connections that wait to be accepted */
#define PIDS_AN_INSTANCE  20    /* a sandbox, a server, a shell or two, and what runs in them */
#define PIDS_WANTED       131072
#define ERROR_MAX_SECONDS 1

/* The first number in a file of /proc or /sys; false if there is none. */
static bool read_number(const char *path, long long *number) {
    cleanup_fclose FILE *file = fopen(path, "re");
    return file != NULL && fscanf(file, "%lld", number) == 1; /* NOLINT: the kernel's own text */
}

static void check_clock(struct doctor *doctor) {
    struct timex state = {0};
    int result = adjtimex(&state);
    bool is_bad = result == TIME_ERROR || (state.status & STA_UNSYNC) != 0;
    /* In a container, or under some hypervisors, nobody disciplines this clock by NTP and it is right all the same. */
    findings_add(&doctor->findings, "clock", result >= 0 && is_bad ? FINDING_WARN : FINDING_OK,
                 result >= 0 && is_bad ? "run systemd-timesyncd or chrony, unless the host keeps this machine's clock"
                                       : NULL,
                 result < 0 ? "the kernel does not say whether it is set by NTP"
                 : is_bad   ? "not set by NTP: tokens and schedules follow it"
                            : "set by NTP");
}

static void check_files(struct doctor *doctor) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    bool is_low = limit.rlim_max != RLIM_INFINITY && limit.rlim_max < FILES_WANTED;
    findings_add(&doctor->findings, "open files", is_low ? FINDING_WARN : FINDING_OK,
                 is_low ? "raise it: `LimitNOFILE=` of the service, `ulimits:` of compose, /etc/security/limits.conf"
                        : NULL,
                 "a process that is started like this one may have %llu%s", (unsigned long long)limit.rlim_max,
                 is_low ? ": about half as many requests at once" : "");
}

static void check_backlog(struct doctor *doctor) {
    long long value = 0;
    if (!read_number("/proc/sys/net/core/somaxconn", &value)) {
        return;
    }
    bool is_low = value < BACKLOG_WANTED;
    findings_add(&doctor->findings, "backlog", is_low ? FINDING_WARN : FINDING_OK,
                 is_low ? "`sysctl net.core.somaxconn=4096`" : NULL, "net.core.somaxconn is %lld%s", value,
                 is_low ? ": a burst of requests is refused" : "");
}

/* --- of instances on this machine --------------------------------------------------------------------------------- */

static void check_processes(struct doctor *doctor) {
    struct rlimit limit;
    long long most = 0;
    if (!read_number("/proc/sys/kernel/pid_max", &most) || getrlimit(RLIMIT_NPROC, &limit) != 0) {
        return;
    }
    if (limit.rlim_cur != RLIM_INFINITY && (long long)limit.rlim_cur < most) {
        most = (long long)limit.rlim_cur;
    }
    long long wanted = doctor->settings->max_instances > 0 ? doctor->settings->max_instances * PIDS_AN_INSTANCE
                                                           : PIDS_WANTED / PIDS_AN_INSTANCE;
    bool is_low = most < wanted;
    findings_add(&doctor->findings, "processes of users", is_low ? FINDING_WARN : FINDING_OK,
                 is_low ? "raise `TasksMax=`/`LimitNPROC=` and kernel.pid_max, or lower TERMINALS_MAX_INSTANCES" : NULL,
                 "%lld at once, enough for about %lld busy instances", most, most / PIDS_AN_INSTANCE);
}

/* An instance's port is chosen as free from the first on; one that the kernel may give away at any time is a start that
 * has to be tried again. */
static void check_ports(struct doctor *doctor) {
    long long low = 0;
    if (!read_number("/proc/sys/net/ipv4/ip_local_port_range", &low)) {
        return;
    }
    long long first = doctor->settings->local_port_range_start;
    bool is_inside = first >= low;
    findings_add(&doctor->findings, "ports", is_inside ? FINDING_WARN : FINDING_OK,
                 is_inside ? "set TERMINALS_LOCAL_PORT_RANGE_START=9000" : NULL,
                 is_inside ? "instances' ports, from %lld on, are among those of outgoing connections (from %lld)"
                           : "instances' ports from %lld on, %lld is the first of outgoing connections",
                 first, low);
}

void doctor_check_machine(struct doctor *doctor) {
    check_clock(doctor);
    check_files(doctor);
    check_backlog(doctor);
    if (doctor->settings->backend == BACKEND_LOCAL) {
        check_processes(doctor);
        check_ports(doctor);
    }
}
