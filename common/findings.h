/* findings.h - what `terminals doctor` has found: one line each, of those who look (cli/doctor_*.c, and
 * provisioner/doctor*.c for what only the provisioner may read). One thread only. */
#ifndef TERMINALS_COMMON_FINDINGS_H
#define TERMINALS_COMMON_FINDINGS_H

#include <stdbool.h>

#include "common/json.h"

enum finding_status { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct findings {
    struct json_object *list; /* of {"check", "status", "detail", "advice"} (all texts; advice may be null) */
    bool is_incomplete;       /* memory ran out */
};

/* False: no memory. */
bool findings_init(struct findings *findings);
void findings_free(struct findings *findings);

/* Adds one. `check` says what was looked at, in a word or two; `advice`, what to do about it (NULL: nothing). Control
 * characters of the detail, which may come from elsewhere, become `?`. No secrets. */
void findings_add(struct findings *findings, const char *check, enum finding_status status, const char *advice,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Adds one that another process has found, and keeps a reference to it; what is none is not added, and false returned.
 */
bool findings_add_json(struct findings *findings, struct json_object *finding);

/* The worst status, FINDING_OK of none. */
enum finding_status findings_worst(const struct findings *findings);

/* The status of one in the list. */
enum finding_status finding_status(struct json_object *finding);

#endif
