/* kubernetes_pods.h - all pods of Terminals in our namespace, as a list and a watch keep them current.
 *
 *   CONNECTING ──list──▶ UP ──watch ends──▶ watch again from where it was ──410 Gone──▶ list again (still UP)
 *   CONNECTING, UP ──no answer──▶ AWAY ──list or watch again, with growing pauses──▶ UP
 *
 * UP means that a watch is open, or is being opened, from the point up to which everything has been told: nothing that
 * happens to a pod is missed. Nothing is asked of the API server for a request of a user. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PODS_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PODS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "provisioner/backends/kubernetes_client.h"
#include "provisioner/backends/kubernetes_pod.h"

enum kubernetes_link_state { KUBERNETES_LINK_CONNECTING, KUBERNETES_LINK_UP, KUBERNETES_LINK_AWAY };

struct kubernetes_pods_callbacks {
    void *argument;
    void (*changed)(void *argument, enum kubernetes_link_state state);
    /* A pod that is new or has changed; with `is_gone`, one that is not there any more. Borrowed. */
    void (*pod)(void *argument, const struct kubernetes_pod *pod, bool is_gone);
    /* A whole list has been told: a pod that nobody has been told of does not exist, if it existed at `began_ms`
     * (monotonic). */
    void (*listed)(void *argument, int64_t began_ms);
};

struct kubernetes_pods;

/* Begins to connect, from the event loop. NULL: no memory. */
struct kubernetes_pods *kubernetes_pods_open(struct kubernetes_client *client, struct event_base *base,
                                             const struct kubernetes_pods_callbacks *callbacks);
/* NULL is fine. */
void kubernetes_pods_close(struct kubernetes_pods *pods);

enum kubernetes_link_state kubernetes_pods_state(const struct kubernetes_pods *pods);
void kubernetes_pods_away_error(const struct kubernetes_pods *pods, struct error *err); /* why it is not UP */

/* NULL: there is none of that name. Valid until the event loop goes on. */
const struct kubernetes_pod *kubernetes_pods_find(const struct kubernetes_pods *pods, const char *name);

/* Tells everybody about every pod there is. */
void kubernetes_pods_each(struct kubernetes_pods *pods, void (*each)(void *argument, const struct kubernetes_pod *pod),
                          void *argument);

#endif
