/* doctor_checks.h - the families of checks that `terminals doctor` makes, one file each. */
#ifndef TERMINALS_CLI_DOCTOR_CHECKS_H
#define TERMINALS_CLI_DOCTOR_CHECKS_H

#include "common/findings.h"
#include "common/settings.h"

/* What the checks share. The first ones fill it for those that follow. */
struct doctor {
    struct findings findings;
    struct settings *settings; /* doctor_check_backend() alone changes them */
    bool has_provisioner;      /* it runs, and answers */
    bool has_haproxy;          /* the same of HAProxy */
    bool is_running;           /* any of our processes does */
};

/* A family: adds what it finds, good and bad. */
typedef void doctor_check(struct doctor *doctor);

/* Reads the settings, all mistakes and not just the first; false if there is one, and then no other check makes sense.
 * `settings` is the caller's to free if true. */
bool doctor_read_settings(struct findings *findings, struct settings *settings);

doctor_check doctor_check_access;    /* doctor_settings.c: who may do what, and the certificate */
doctor_check doctor_check_processes; /* doctor_processes.c: programs and sockets */
doctor_check doctor_check_backend;   /* doctor_backend.c: the settings are of the backend that runs */
doctor_check doctor_check_haproxy;   /* doctor_haproxy.c: its version and limits */
doctor_check doctor_check_maps;      /* doctor_maps.c: HAProxy's, their files, and the provisioner's word */
doctor_check doctor_check_state; /* doctor_state.c: what the provisioner's own program finds of database and backend */
doctor_check doctor_check_network; /* doctor_network.c: Open WebUI, the SIEM webhook, instances */
doctor_check doctor_check_disk;    /* doctor_disk.c: folders, their rights and room */
doctor_check doctor_check_machine; /* doctor_machine.c: the clock, and the kernel's limits */

#endif
