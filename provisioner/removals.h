/* removals.h - removing folders of the trash, each on a thread of its own, so many at once; the others wait. */
#ifndef TERMINALS_PROVISIONER_REMOVALS_H
#define TERMINALS_PROVISIONER_REMOVALS_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/error.h"

#define REMOVALS_AT_ONCE        16
#define REMOVALS_NAME_MAX_BYTES 63

struct removals;

/* `trash` is the path of the folder whose folders are removed; it need not exist yet. The ends are reported on `base`.
 * NULL: no memory. */
struct removals *removals_open(const char *trash, struct event_base *base);

/* Waits until those under way have noticed, and frees. No `done` is called any more. Takes NULL. */
void removals_close(struct removals *removals);

/* Removes the folder `name` of the trash with everything in it, and then calls `done` on the event loop; `err` is NULL
 * on success. False with *err, and no `done`, if there is no memory for it. */
bool removals_add(struct removals *removals, const char *name, void (*done)(void *argument, const struct error *err),
                  void *argument, struct error *err);

/* Whether one of this name was added and is not done yet. */
bool removals_has(const struct removals *removals, const char *name);

#endif
