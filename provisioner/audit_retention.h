/* audit_retention.h - old rows of the audit log go, a few at a time, so that nobody waits for it. */
#ifndef TERMINALS_PROVISIONER_AUDIT_RETENTION_H
#define TERMINALS_PROVISIONER_AUDIT_RETENTION_H

#include "provisioner/provisioner.h"

/* A batch is as large as can be deleted in about RETENTION_STEP_MS, and a pause follows. */
#define RETENTION_BATCH_MAX_ROWS 500
#define RETENTION_STEP_MS        10
#define RETENTION_PAUSE_MS       20

/* NULL with *err: no memory. */
struct audit_retention *audit_retention_open(struct provisioner *provisioner, struct error *err);
void audit_retention_close(struct audit_retention *retention);

/* Begins to delete what is older than TERMINALS_AUDIT_RETENTION_DAYS, unless that goes on already. NULL is fine. */
void audit_retention_begin(struct audit_retention *retention);

#endif
