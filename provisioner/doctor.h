/* doctor.h - what `terminals doctor` asks this program: how the database and the backend are, whether a provisioner
 * runs meanwhile or not. Looks only: what is not there yet is not made. */
#ifndef TERMINALS_PROVISIONER_DOCTOR_H
#define TERMINALS_PROVISIONER_DOCTOR_H

#include <stdbool.h>

#include "common/error.h"
#include "common/findings.h"
#include "common/settings.h"

/* Prints the findings, a JSON object a line. False with *err only where nothing could be looked at. */
bool doctor_print(const struct settings *settings, struct error *err);

/* One part, in a file of its own. */
typedef void doctor_look(const struct settings *settings, struct findings *findings);
doctor_look doctor_look_at_database, doctor_look_at_local, doctor_look_at_static, doctor_look_at_docker,
    doctor_look_at_kubernetes;

#endif
