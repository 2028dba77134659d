/* front.h - what every provisioner has, whether it leads or follows: the run folder, the database, the encryption key,
 * HAProxy with its two maps, and the socket that gate and api call. */
#ifndef TERMINALS_PROVISIONER_FRONT_H
#define TERMINALS_PROVISIONER_FRONT_H

#include "provisioner/provisioner.h"

struct ipc_call;
struct json_object;

/* Each opens what the next one needs, from what the provisioner's settings, node and event loop say; all of it is for
 * the functions below to close, also after a failure. */
bool front_open_store(struct provisioner *provisioner, struct error *err);
bool front_open_vault(struct provisioner *provisioner, struct error *err);
bool front_open_haproxy(struct provisioner *provisioner, struct error *err);

/* Where there is no node; a node has the socket already (node.h), and whoever has a role sets its handler. */
bool front_open_server(struct provisioner *provisioner,
                       void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                       struct error *err);

/* In this order; what was not opened is passed over. */
void front_close_server(struct provisioner *provisioner);
void front_close_haproxy(struct provisioner *provisioner);
void front_close_store(struct provisioner *provisioner);

#endif
