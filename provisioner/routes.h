/* routes.h - a tenant's entry in routes.map. */
#ifndef TERMINALS_PROVISIONER_ROUTES_H
#define TERMINALS_PROVISIONER_ROUTES_H

#include "provisioner/tenants.h"

/* Makes the map hold the way to a running instance, if it does not yet. A map that cannot be written is logged:
 * requests then take the slow way through the gate, and the next one tries again. */
void route_publish(struct provisioner *provisioner, struct tenant *tenant);

/* Takes the way out of the map, and tells the other nodes. Requests then go through the gate. */
void route_withdraw(struct provisioner *provisioner, struct tenant *tenant);

/* Once after a start: replaces what the predecessor left by the routes of all that runs. */
void routes_build(struct provisioner *provisioner);

/* What routes.map holds: address|port|key|instance id. For secret_free(), the key is in it. NULL: no memory. */
char *route_format(const char *host, uint16_t port, const char *key, const char *instance_id);

/* Tells the other nodes of the routes that are not what the database says: those that are being drained, and those of
 * tenants whose last change it has not taken. */
void routes_announce_unwritten(struct provisioner *provisioner);

#endif
