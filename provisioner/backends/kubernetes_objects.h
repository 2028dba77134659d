/* kubernetes_objects.h - all that we have made in our namespace, whether anybody owns it or not (backend.h,
 * list_objects). */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_OBJECTS_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_OBJECTS_H

#include "provisioner/backend.h"
#include "provisioner/backends/kubernetes_backend.h"

void kubernetes_objects_list(struct backend *backend, void (*each)(void *argument, const struct backend_object *object),
                             void (*done)(void *argument, const struct error *err), void *argument);
void kubernetes_objects_remove(struct backend *backend, const char *kind, const char *handle,
                               void (*done)(void *argument, const struct error *err), void *argument);

#endif
