/* kubernetes_options.h - what a deletion says besides the name. Pure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_OPTIONS_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_OPTIONS_H

#include "common/json.h"

/* DeleteOptions: of the object with this uid only ("": whichever has the name), which gets `grace_s` seconds to end
 * (negative: what it says itself). NULL: no memory. */
struct json_object *kubernetes_delete_options(const char *uid, int grace_s);

#endif
