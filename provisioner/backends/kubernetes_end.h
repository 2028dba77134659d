/* kubernetes_end.h - what the end of an instance shares with other removals. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_END_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_END_H

#include "common/json.h"

struct backend;

/* DeleteOptions: of the object with this uid only ("": whichever has the name), which gets `grace_s` seconds to end
 * (negative: what it says itself). NULL: no memory. */
struct json_object *kubernetes_delete_options(const char *uid, int grace_s);

/* An instance is gone, or its files are: whoever waits for its name may begin. */
void kubernetes_end_pass_name_on(struct backend *backend, const char *name);

#endif
