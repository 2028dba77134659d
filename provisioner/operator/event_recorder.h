/* event_recorder.h - events that `kubectl describe terminal` shows. They are for people: one that cannot be written is
 * dropped. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_EVENT_RECORDER_H
#define TERMINALS_PROVISIONER_OPERATOR_EVENT_RECORDER_H

#include <stdbool.h>

#include "provisioner/backends/kubernetes_client.h"
#include "provisioner/backends/kubernetes_terminal.h"

struct event_recorder;

/* The texts are borrowed. NULL: no memory. */
struct event_recorder *event_recorder_open(struct kubernetes_client *client, const char *namespace_name,
                                           const char *api_version);
/* NULL is fine. */
void event_recorder_close(struct event_recorder *recorder);

/* `reason` is one word in CamelCase. */
void event_record(struct event_recorder *recorder, const struct kubernetes_terminal *terminal, bool is_warning,
                  const char *reason, const char *message);

#endif
