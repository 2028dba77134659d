/* kubernetes_secret.h - an instance's key in its secret. Pure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_SECRET_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_SECRET_H

#include "common/json.h"

/* The key in a Secret's `data`: what is called `name` there or, for NULL, `api-key`, `OPEN_TERMINAL_API_KEY` or the
 * only thing in it. The caller frees it with secret_free(). NULL: there is none that can be a key, or no memory. */
char *kubernetes_secret_key_of(struct json_object *secret, const char *name);

#endif
