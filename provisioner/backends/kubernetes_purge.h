/* kubernetes_purge.h - a user's files go for good: the claim that is their own, and their folder of the one that all
 * share, which a pod empties, since only a pod reaches what is in a claim. At a reset a pod empties the own claim, too,
 * which stays. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PURGE_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PURGE_H

#include "provisioner/backends/kubernetes_backend.h"

/* As `purge` of struct backend_operations. */
void kubernetes_purge_begin(struct backend *backend, const struct instance_spec *spec, bool is_reset,
                            void (*done)(void *argument, const struct error *err), void *argument);

/* As `forget` of struct backend_operations, where there is an operator: its Terminal goes, whose pod sleeps or is being
 * made anew; the files stay. */
void kubernetes_purge_terminal(struct backend *backend, const struct instance_spec *spec,
                               void (*done)(void *argument, const struct error *err), void *argument);

/* A pod of a purge has changed, or is gone. */
void kubernetes_purge_pod_changed(struct backend *backend, const struct kubernetes_pod *pod, bool is_gone);

/* All pods have been listed: one made before `began_ms` that nobody knows is gone, and its purge fails. */
void kubernetes_purge_listed(struct backend *backend, int64_t began_ms);

/* Whether files of the instance of this name are being removed, on whosever behalf: its start waits for that, and gets
 * its name by kubernetes_end_pass_name_on(). */
bool kubernetes_purge_is_under_way(const struct backend *backend, const char *name);

/* At the end: forgets all that are under way, without `done`. */
void kubernetes_purge_free_all(struct backend *backend);

#endif
