/* metrics.h - everything there is to measure, as Prometheus reads it (docs/metrics.md). No label names a user. */
#ifndef TERMINALS_PROVISIONER_METRICS_H
#define TERMINALS_PROVISIONER_METRICS_H

#include "common/buffer.h"
#include "provisioner/provisioner.h"

/* Appends all metrics; running out of memory is remembered by the buffer. */
void metrics_write(struct provisioner *provisioner, struct buffer *out);

#endif
