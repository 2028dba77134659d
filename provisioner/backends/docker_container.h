/* docker_container.h - what the engine tells about one container (GET /containers/{id}/json). */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_CONTAINER_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/json.h"
#include "provisioner/backend.h"
#include "provisioner/backends/docker_labels.h"

#define DOCKER_ID_SIZE       65 /* 64 hex digits */
#define DOCKER_INSTANCE_PORT 8000
#define DOCKER_PORT_NAME     "8000/tcp"

/* Borrowed from the JSON. */
struct docker_container {
    const char *id;
    bool is_running; /* and not paused */
    bool is_paused;
    pid_t pid; /* of its first process, for the engine; 0: not said */
    bool was_killed_for_memory;
    int64_t exit_code;
    struct docker_labels labels;
    const char *key; /* OPEN_TERMINAL_API_KEY in its environment, or NULL */
    struct json_object *json;
};

/* False if it is no description of a container. */
bool docker_container_read(struct json_object *json, struct docker_container *out);

/* Where its instance answers: with `published`, the port of this machine; else its address in `network`, or, if it is
 * not in there, in the first network where it has one. The key is not filled in. False with *err if it has none. */
bool docker_container_address(const struct docker_container *container, bool published, const char *network,
                              struct instance_address *out, struct error *err);

#endif
