/* haproxy_stat.h - reads HAProxy's table of statistics (CSV, management guide §9.1). Thread-safe. */
#ifndef TERMINALS_PROVISIONER_HAPROXY_STAT_H
#define TERMINALS_PROVISIONER_HAPROXY_STAT_H

#include <stdint.h>

/* Every proxy, frontends only. */
#define HAPROXY_STAT_COMMAND "show stat -1 1 -1"

/* All HTTP requests that clients made since HAProxy started (`req_tot` of the frontend `public`); -1 if the table has
 * no such column. */
int64_t haproxy_stat_requests(const char *csv);

#endif
