/* docker_paths.h - paths of ours as the engine's machine calls them. They differ when we run in a container ourselves:
 * the engine binds folders of its own machine. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_PATHS_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_PATHS_H

#include <stdbool.h>

#include "common/error.h"
#include "common/json.h"
#include "provisioner/backends/docker_container.h"

/* Finds the id of the container we run in, in the text of /proc/self/mountinfo and /proc/self/cgroup (either may be
 * NULL): Docker mounts `…/containers/<id>/hostname` in each, and cgroup v1 names it. False if we run in none. */
bool docker_paths_find_container(const char *mountinfo, const char *cgroup, char id[DOCKER_ID_SIZE]);

/* The same from the files. */
bool docker_paths_own_container(char id[DOCKER_ID_SIZE]);

/* `path` (absolute) as the machine calls it, given the Mounts of our own container as the engine tells them: the
 * longest Destination that `path` is in decides. The caller frees it. NULL with *err: it is in no mount. */
char *docker_paths_translate(struct json_object *mounts, const char *path, struct error *err);

#endif
