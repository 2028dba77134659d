/* haproxy_exporter.h - HAProxy's own metrics: what its exporter (PROMEX) says on a socket in the run folder. */
#ifndef TERMINALS_FCGI_API_HAPROXY_EXPORTER_H
#define TERMINALS_FCGI_API_HAPROXY_EXPORTER_H

#include <stdbool.h>

#include "common/buffer.h"
#include "common/error.h"

/* Appends the text; on failure nothing is appended. ERROR_BACKEND: HAProxy is away, or was built without the exporter.
 * Blocks for 5 s at most. Thread-safe. */
bool haproxy_exporter_read(const char *run_dir, struct buffer *out, struct error *err);

#endif
