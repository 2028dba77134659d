/* activity.h - tells the provisioner once a second which tenants are in use through the gate (DESIGN.md, "Activity and
 * idleness"): every route with an HTTP exchange, every WebSocket that moved bytes, how many WebSockets are open. Only
 * what was authorized is ever counted. One thread. */
#ifndef TERMINALS_GATE_ACTIVITY_H
#define TERMINALS_GATE_ACTIVITY_H

#include <event2/event.h>

#include "gate/provisioner_client.h"

struct activity;
struct activity_route;

/* NULL: no memory. */
struct activity *activity_new(struct event_base *base, struct provisioner_client *provisioner);
void activity_free(struct activity *activity);

/* An exchange for `route_key` (copied) begins; end it with what this returns. NULL (which activity_exchange_end() takes
 * too): no memory, and the exchange is not counted. */
struct activity_route *activity_exchange_begin(struct activity *activity, const char *route_key);
void activity_exchange_end(struct activity_route *route);

/* A WebSocket is open, and then not any more. */
void activity_stream_opened(struct activity *activity);
void activity_stream_closed(struct activity *activity);

/* A WebSocket for `route_key` moved bytes. */
void activity_stream_moved(struct activity *activity, const char *route_key);

#endif
