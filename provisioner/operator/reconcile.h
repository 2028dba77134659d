/* reconcile.h - one Terminal: what is, against what shall be.
 *
 * In this order, one call to the API server after the other: what nobody owns goes; the claim, the secret, the pod and
 * the service are made where they are missing; a pod that has ended, or got the key of a secret that is no more, is
 * replaced; a pod that nobody has used for long goes (after the status has said so, on the condition that nobody used
 * it meanwhile); and the status says how things stand. What has to be done follows from what is alone, so that whoever
 * is killed in between is followed by another who finishes. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_RECONCILE_H
#define TERMINALS_PROVISIONER_OPERATOR_RECONCILE_H

#include "provisioner/operator/controller.h"

/* The operator lets nobody sleep sooner than this after the timeout: `lastActivityAt` is written once a minute at most,
 * and who writes it learns of requests once a minute, too. */
#define RECONCILE_IDLE_SLACK_MS 150000

/* `run` of work_queue_open(); `work->owner` is the controller. */
void reconcile_run(struct work *work);

#endif
