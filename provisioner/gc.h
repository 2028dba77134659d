/* gc.h - `terminals gc`: finds what nobody owns any more, and removes it when it is asked to.
 *
 * What exists is listed first, and who owns what is read from the database after that: a row comes to be before
 * anything that belongs to it does (backend.h, "Crash safety"), so that what is listed and has no row then has no
 * owner, and nothing that is being started is taken for left over. A folder is put into the trash in the same turn of
 * the event loop in which its owner was looked for, so that no start of this provisioner comes in between; all else is
 * named by what will never belong to another instance (an instance's id, a pod's uid). Each step is whole or did not
 * happen, and may be done again. */
#ifndef TERMINALS_PROVISIONER_GC_H
#define TERMINALS_PROVISIONER_GC_H

#include "common/json.h"
#include "provisioner/provisioner.h"

struct gc;

/* What to do. `only` (borrowed, NULL: all): what was shown to who asks, as items of an earlier run; nothing else is
 * removed. */
struct gc_order {
    bool removes;
    bool with_files; /* also what holds users' files */
    struct json_object *only;
};

/* Looks, and removes; calls `done` once, later or from inside. `items` (borrowed) is an array of {"kind", "name",
 * "detail", "holds_files", "state": "found|removed|failed|kept", "error"}; NULL with *err if it could not look. One at
 * a time: ERROR_CONFLICT else. */
void gc_begin(struct provisioner *provisioner, const struct gc_order *order,
              void (*done)(void *argument, struct json_object *items, const struct error *err), void *argument);

/* Gives up the one under way without telling anybody. The backend is closed before. */
void gc_close(struct gc *gc);

/* For where no provisioner runs: takes the run folder's lock, reads an order ({"remove": bool, "folders": bool, "only":
 * […]}) from standard input, and prints {"items": […]}. */
bool gc_run_alone(const struct settings *settings, const struct backend_operations *operations, struct error *err);

/* Reads the members of an order. */
void gc_order_read(struct json_object *request, struct gc_order *order);

#endif
