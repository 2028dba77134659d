/* calls.h - how each API call is answered: routes.c names these in its table. */
#ifndef TERMINALS_FCGI_API_CALLS_H
#define TERMINALS_FCGI_API_CALLS_H

#include "fcgi-api/routes.h"

/* The body is the member `route->result` of the provisioner's answer. */
void call_member(const struct exchange *exchange, struct answer *answer);

/* The same, a list, and its member `total` goes into X-Total-Count. */
void call_list(const struct exchange *exchange, struct answer *answer);

/* The same, as JSON or as a file of comma-separated values (csv.h). */
void call_audit_logs(const struct exchange *exchange, struct answer *answer);

/* The provisioner's answer for the user named by X-User-Id. */
void call_create_tenant(const struct exchange *exchange, struct answer *answer);

/* The policy that the body says; 201. */
void call_create_policy(const struct exchange *exchange, struct answer *answer);

/* Gives the policy in the path the data of the body. */
void call_update_policy(const struct exchange *exchange, struct answer *answer);

/* Gives the policy in the path the lifecycle that the body is. */
void call_update_lifecycle(const struct exchange *exchange, struct answer *answer);

/* {"detail": "deleted"} */
void call_delete(const struct exchange *exchange, struct answer *answer);

/* The provisioner's settings and ours. */
void call_config(const struct exchange *exchange, struct answer *answer);

/* The metrics of HAProxy and of the provisioner, in Prometheus' text format (docs/metrics.md). */
void call_metrics(const struct exchange *exchange, struct answer *answer);

/* The OpenAPI document of the instances of a policy, without its security parts. */
void call_openapi(const struct exchange *exchange, struct answer *answer);

#endif
