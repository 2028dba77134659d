/* kubernetes_unanswered.h - Terminals whose deletion nobody answered: their instances are forgotten, and the roundup,
 * which finds pods that run, does not find them. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_UNANSWERED_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_UNANSWERED_H

#include "provisioner/backends/kubernetes_backend.h"

/* The Terminal of this name and uid shall go: its deletion is asked for when the roundup looks again. Without
 * memory it is left to whoever looks for what nobody owns. */
void kubernetes_unanswered_add(struct backend *backend, const char *name, const char *uid);

/* The API server may be asked: for all there are, but not while an instance has the name, which may use that
 * Terminal; once it does, it is that instance's to end. */
void kubernetes_unanswered_ask(struct backend *backend);

/* At the end: forgets them. */
void kubernetes_unanswered_free_all(struct backend *backend);

#endif
