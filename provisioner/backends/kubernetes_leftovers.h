/* kubernetes_leftovers.h - services and secrets whose pod is no more, because somebody was killed between two steps. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_LEFTOVERS_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_LEFTOVERS_H

#include "provisioner/backends/kubernetes_backend.h"

struct kubernetes_leftovers;

/* Lists them, removes those that we made and that belong to no instance, and makes the services that adopted instances
 * lack. NULL: no memory. */
struct kubernetes_leftovers *kubernetes_leftovers_open(struct backend *backend);

/* Whether something of it is under way. NULL is fine. */
bool kubernetes_leftovers_are_looked_at(const struct kubernetes_leftovers *leftovers);

/* Gives up what is under way. NULL is fine. */
void kubernetes_leftovers_close(struct kubernetes_leftovers *leftovers);

#endif
