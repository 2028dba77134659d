/* kubernetes_roundup.h - what becomes of objects in our namespace that nobody knows: a pod that runs and answers is
 * offered to the owner, who may have lost its row; what nobody wants is removed. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_ROUNDUP_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_ROUNDUP_H

#include "provisioner/backends/kubernetes_backend.h"

struct kubernetes_roundup;

/* NULL: no memory. */
struct kubernetes_roundup *kubernetes_roundup_open(struct backend *backend);
void kubernetes_roundup_close(struct kubernetes_roundup *roundup);

/* From now on strangers are dealt with: all known ones have been named. */
void kubernetes_roundup_allow(struct kubernetes_roundup *roundup);

/* All pods are known, perhaps again: looks at each that nobody knows, and at leftover services and secrets. */
void kubernetes_roundup_begin(struct kubernetes_roundup *roundup);

/* The API server is away: what is under way comes to nothing. */
void kubernetes_roundup_abandon(struct kubernetes_roundup *roundup);

/* Something may be left that a list would tell of, but watches go on without one: looks again in AGAIN_SECONDS, and
 * until the API server can be asked. (kubernetes_roundup.c) */
void kubernetes_roundup_again(struct kubernetes_roundup *roundup);

/* One is gone that may be being looked at: nothing of it is decided any more. */
void kubernetes_roundup_pod_is_gone(struct kubernetes_roundup *roundup, const struct kubernetes_pod *pod);

/* Looks at one pod that appeared. */
void kubernetes_roundup_look(struct kubernetes_roundup *roundup, const struct kubernetes_pod *pod);

#endif
