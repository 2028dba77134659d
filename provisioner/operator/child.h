/* child.h - what the operator knows of services, secrets and claims: their metadata and nothing else. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_CHILD_H
#define TERMINALS_PROVISIONER_OPERATOR_CHILD_H

#include <stdbool.h>

#include "provisioner/backends/kubernetes_watch.h"

struct child {
    struct kubernetes_item item;
    char owner_uid[KUBERNETES_UID_SIZE]; /* of its controller; "": none */
    bool is_operators;                   /* terminals-operator made it */
    bool is_going;                       /* somebody deletes it, and a finalizer keeps it */
    struct json_object *metadata;        /* owned */
};

/* All of `kind` that are some Terminals'. Their items are struct child. */
struct kubernetes_watch_kind child_kind(const char *kind);

/* NULL: there is none. */
const struct child *child_find(const struct kubernetes_watch *watch, const char *name);

#endif
