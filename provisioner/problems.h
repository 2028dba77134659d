/* problems.h - what is wrong right now, as far as the provisioner can know, and since when (docs/api.md, `/stats`). */
#ifndef TERMINALS_PROVISIONER_PROBLEMS_H
#define TERMINALS_PROVISIONER_PROBLEMS_H

#include "common/json.h"
#include "provisioner/provisioner.h"

/* So often it looks, so that `since` is not later than that after the truth. */
#define PROBLEMS_LOOK_SECONDS 10

/* NULL with *err. */
struct problems *problems_open(struct provisioner *provisioner, struct error *err);
void problems_close(struct problems *problems); /* NULL is fine */

/* Looks, and calls `each` for every kind of problem, whether there is one or not: severity is NULL where there is none.
 */
void problems_each(struct problems *problems, void (*each)(void *argument, const char *what, const char *severity),
                   void *argument);

/* Looks, and returns a list of {"severity": "error"|"warning", "what", "detail", "since"}. NULL: no memory. */
struct json_object *problems_json(struct problems *problems);

#endif
