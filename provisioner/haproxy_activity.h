/* haproxy_activity.h - reading HAProxy's words: the stick table `tenants`, and the master's list of workers.
 * haproxy_runtime_activity() asks; this file knows what the answers look like (management guide §9.3, §9.4). */
#ifndef TERMINALS_PROVISIONER_HAPROXY_ACTIVITY_H
#define TERMINALS_PROVISIONER_HAPROXY_ACTIVITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "provisioner/haproxy_runtime.h"

#define HAPROXY_TABLE           "tenants"
#define HAPROXY_WORKERS_MAX     64
#define HAPROXY_TABLE_EXPIRE_MS 86400000LL /* `expire 24h` in haproxy/haproxy.cfg */

struct route_activity_list {
    struct route_activity *routes;
    size_t count;
    size_t capacity;
};

/* Adds every entry of a `show table tenants` answer. False if it is no such answer, or memory runs out. */
bool haproxy_activity_parse(const char *answer, struct route_activity_list *list);

/* The workers that a `show proc` answer of the master names, the current ones first. */
struct haproxy_workers {
    pid_t pids[HAPROXY_WORKERS_MAX];
    size_t count;
    size_t current; /* of these; the rest are old ones that finish what they have */
};

/* False if the answer names no current worker. More than HAPROXY_WORKERS_MAX are left out. */
bool haproxy_activity_workers(const char *answer, struct haproxy_workers *workers);

#endif
