/* haproxy_activity.h - reading HAProxy's words: the stick table `tenants`, and the master's list of workers.
 * haproxy_runtime_activity() asks; this file knows what the answers look like (management guide §9.3, §9.4). */
#ifndef TERMINALS_PROVISIONER_HAPROXY_ACTIVITY_H
#define TERMINALS_PROVISIONER_HAPROXY_ACTIVITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "provisioner/haproxy_runtime.h"

#define HAPROXY_TABLE           "tenants"
#define HAPROXY_TABLE_EXPIRE_MS 86400000LL /* `expire 24h` in haproxy/haproxy.cfg */

struct route_activity_list {
    struct route_activity *routes;
    size_t count;
    size_t capacity;
};

/* Adds every entry of a `show table tenants` answer. False if it is no such answer, or memory runs out. */
bool haproxy_activity_parse(const char *answer, struct route_activity_list *list);

/* The pids below `# old workers` in a `show proc` answer of the master: `max` at most; returns how many. */
size_t haproxy_activity_old_workers(const char *answer, pid_t *pids, size_t max);

#endif
