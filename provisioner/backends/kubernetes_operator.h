/* kubernetes_operator.h - the part of an instance's life that differs where terminals-operator makes the pods: an
 * instance is a Terminal resource of ours, and its pod, service, secret and key are the operator's.
 *
 * A pod that goes by another's hand is made anew by the operator: the instance is `gone`, its Terminal stays, and when
 * the new pod answers the roundup offers it to the owner. An instance that shall end is a Terminal that is deleted. One
 * that the operator has put to sleep (phase Idle) is woken by a newer `lastActivityAt`. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_OPERATOR_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_OPERATOR_H

#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_terminal.h"

/* `lastActivityAt` is written as often at most. */
#define KUBERNETES_TOUCH_INTERVAL_MS 60000

/* The first step of a start of an instance that holds its name, and of an adoption. */
void kubernetes_operator_start(struct kubernetes_instance *instance);
void kubernetes_operator_adopt(struct kubernetes_instance *instance);

/* The claim, if it is not the operator's business, is there: makes the Terminal. */
void kubernetes_operator_create(struct kubernetes_instance *instance);

/* Its pod, or its Terminal, has changed or is gone. */
void kubernetes_operator_pod_changed(struct kubernetes_instance *instance, const struct kubernetes_pod *pod,
                                     bool is_gone);
void kubernetes_operator_terminal_changed(struct kubernetes_instance *instance,
                                          const struct kubernetes_terminal *terminal, bool is_gone);

/* The instance's timer. True: it is one of a start, for kubernetes_start_timer(). */
bool kubernetes_operator_timer(struct kubernetes_instance *instance);

/* kubernetes_operator_touch.c: as `touch` of struct backend_operations. */
void kubernetes_operator_touch(struct backend *backend, const char *instance_id, int64_t unix_ms);
/* Begins to write, now and then, what was not written at once. False: no memory. */
bool kubernetes_operator_touches_open(struct backend *backend);
/* The Terminal says, or implies, that the instance was used at this time. */
void kubernetes_operator_is_used(struct kubernetes_instance *instance, int64_t unix_ms);

#endif
