/* docker_objects.h - the containers of this deployment, whether anybody owns them or not (backend.h, list_objects). */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_OBJECTS_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_OBJECTS_H

#include "provisioner/backends/docker_backend.h"

/* list_objects and remove_object of backend.h; a handle is a container's id. */
void docker_objects_list(struct backend *backend, void (*each)(void *argument, const struct backend_object *object),
                         void (*done)(void *argument, const struct error *err), void *argument);
void docker_objects_remove(struct backend *backend, const char *kind, const char *handle,
                           void (*done)(void *argument, const struct error *err), void *argument);

#endif
