/* docker_create.h - the body of POST /containers/create: what an instance is, as Docker says it. Pure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_CREATE_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_CREATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"
#include "provisioner/backend.h"

struct docker_plan {
    const struct instance_spec *spec;
    const struct settings *settings;
    const char *deployment;
    const char *home;    /* as the engine's machine calls it; NULL: none yet */
    const char *network; /* its name */
    const char *image;
    const char *image_id; /* what the image's name stands for now: part of the configuration's hash */
    bool image_is_unprivileged;
    int64_t cpus;             /* of the engine's machine; 0: unknown */
    bool without_storage_opt; /* its storage driver knows no limits */
};

/* NULL with *err (ERROR_INVALID: the policy asks for what cannot be). */
struct json_object *docker_create_body(const struct docker_plan *plan, struct error *err);

/* The image of an instance: the policy's, else the settings'. */
const char *docker_create_image(const struct settings *settings, const struct policy *policy);

/* The network of an instance: of several one by the hash of its name, so that it is always the same. `out` holds a
 * copy. */
#define DOCKER_NETWORK_NAME_SIZE 256
#define DOCKER_NETWORK_OWN       "terminals" /* the one we make where no other is named */
void docker_create_network(const struct settings *settings, const char *instance_name,
                           char out[DOCKER_NETWORK_NAME_SIZE]);

#endif
