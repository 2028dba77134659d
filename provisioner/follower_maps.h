/* follower_maps.h - routes.map of a node that follows: what the leader announces, and what the database says. */
#ifndef TERMINALS_PROVISIONER_FOLLOWER_MAPS_H
#define TERMINALS_PROVISIONER_FOLLOWER_MAPS_H

#include <stdint.h>

#include "provisioner/provisioner.h"

/* A value of routes.map in its parts. */
struct route {
    const char *address;
    uint16_t port;
    const char *key;
    const char *instance_id;
};

/* Cuts `value` up, which is written to and has to stay. False: it is no such value. */
bool route_parse(char *value, struct route *route);

/* Makes the map what the database says of all instances that run. */
bool follower_maps_read(struct provisioner *provisioner, struct error *err);

/* Puts in what the leader has announced. */
void follower_maps_put(struct provisioner *provisioner, const char *text);

#endif
