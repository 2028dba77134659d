/* doctor_state.c - the database and the backend: looked at by terminals-provisioner, which has their libraries and may
 * read their secrets; its findings come as JSON, a line each. */
#include <string.h>

#include "cli/doctor_checks.h"
#include "cli/provisioner_program.h"
#include "common/json.h"

#define OUTPUT_MAX_BYTES (1024UL * 1024)

static void take_line(struct doctor *doctor, const char *line) {
    struct error err = {0};
    cleanup_json struct json_object *finding = json_parse_object(line, strlen(line), &err);
    if (finding == NULL || !findings_add_json(&doctor->findings, finding)) {
        findings_add(&doctor->findings, "state", FINDING_FAIL, "install all programs of one version",
                     "terminals-provisioner says what this program does not understand");
    }
}

void doctor_check_state(struct doctor *doctor) {
    cleanup_buffer struct buffer output = {0};
    struct error err = {0};
    int status = 0;
    bool ok = provisioner_run((const char *const[]){"--doctor", NULL}, -1, OUTPUT_MAX_BYTES, &output, &status, &err);
    char *rest = output.data;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0') {
            take_line(doctor, line);
        }
    }
    if (!ok) {
        findings_add(&doctor->findings, "state", FINDING_FAIL, "build or install it again: `make install`", "%s",
                     err.message);
    } else if (status != 0) {
        findings_add(&doctor->findings, "state", FINDING_FAIL, "look at what it has printed above",
                     "terminals-provisioner could not look at the database and the backend (exit status %d)", status);
    }
}
