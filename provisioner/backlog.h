/* backlog.h - what the database does not take, on disk until it does: so that being killed meanwhile loses none of it.
 *
 * Two files in the run folder. `audit.backlog` has a line of JSON for each staged row of the audit log (audit.h), in
 * their order; it is appended to, and goes when all are in the database. `accesses.backlog` has a line for each tenant
 * whose time of last access is unsaved; it is written whole. Both are as long as what is in memory, which is bounded. A
 * row that is in the database and in the file is the same row, and written once. They are written without waiting for
 * the disk: a power cut may lose what was kept there. */
#ifndef TERMINALS_PROVISIONER_BACKLOG_H
#define TERMINALS_PROVISIONER_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "provisioner/store.h"

struct backlog;

/* NULL with *err: no memory. */
struct backlog *backlog_open(const char *run_dir, struct error *err);
void backlog_close(struct backlog *backlog); /* NULL is fine; the files stay */

/* Appends one row. */
bool backlog_keep_audit(struct backlog *backlog, const struct audit_record *record, struct error *err);

/* Replaces what is kept of times of access. */
struct kept_access {
    const char *route_key;
    int64_t last_accessed_at_ms;
};
bool backlog_keep_accesses(struct backlog *backlog, const struct kept_access *accesses, size_t count,
                           struct error *err);

/* It is in the database now, or did not happen. */
void backlog_forget_audit(struct backlog *backlog);
void backlog_forget_accesses(struct backlog *backlog);

/* Reads what a predecessor left; what is borrowed is valid during the call. A line that makes no sense, such as one
 * that was cut off by a kill, is logged and left out. */
bool backlog_each_audit(struct backlog *backlog, bool (*row)(void *argument, const struct audit_record *record),
                        void *argument, struct error *err);
bool backlog_each_access(struct backlog *backlog, void (*row)(void *argument, const struct kept_access *access),
                         void *argument, struct error *err);

#endif
