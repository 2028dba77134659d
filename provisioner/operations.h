/* operations.h - what peers may ask (docs/internals.md, "IPC with terminals-provisioner"). */
#ifndef TERMINALS_PROVISIONER_OPERATIONS_H
#define TERMINALS_PROVISIONER_OPERATIONS_H

#include "common/json.h"
#include "provisioner/ipc_server.h"
#include "provisioner/provisioner.h"

/* One operation. It answers the call once, at once or later; `request` is borrowed during this call. */
typedef void operation_function(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request);

/* For ipc_server_open(): finds the operation and runs it. `argument` is the provisioner. */
void operations_handle(void *argument, struct ipc_call *call, struct json_object *request);

/* Answers `ok` with one member besides, which is taken over (NULL: no memory, and the peer is dropped). A NULL name: no
 * member. */
void operation_answer(struct ipc_call *call, const char *name, struct json_object *value);

/* Answers `ok` with a list, which is taken over (NULL: no memory), and `total`. */
void operation_answer_list(struct ipc_call *call, const char *name, struct json_object *list, int64_t total);

/* Asks HAProxy who is active, if it says so, and then runs `go_on`: for what tells why instances run. */
void operation_after_look(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request,
                          operation_function *go_on);

/* A waiter_function (tenants.h): answers the call that `argument` is with the tenant. */
struct tenant;
void operation_answer_tenant(void *argument, struct tenant *tenant, const struct error *err);

/* The tenant that a request names, and who asks; NULL with *err if there is none. */
struct tenant *operation_find_tenant(struct provisioner *provisioner, struct json_object *request,
                                     struct json_object **actor, struct error *err);

/* tenant_operations.c */
operation_function operation_resolve, operation_lookup, operation_recover, operation_tenant_create,
    operation_tenant_list, operation_tenant_get, operation_tenant_start, operation_tenant_stop, operation_tenant_delete;

/* policy_operations.c */
operation_function operation_policy_list, operation_policy_get, operation_policy_create, operation_policy_update,
    operation_policy_delete;

/* lifecycle_operations.c */
operation_function operation_lifecycle_get, operation_lifecycle_update;

/* terminal_operations.c */
operation_function operation_terminal_list, operation_terminal_open, operation_terminal_stop,
    operation_terminal_refresh;

/* gc_operation.c */
operation_function operation_gc;

/* admin_operations.c */
operation_function operation_status, operation_config, operation_audit_list, operation_openapi, operation_reap,
    operation_rotate_key;

/* stats_operations.c */
operation_function operation_stats, operation_stats_history, operation_metrics;

#endif
