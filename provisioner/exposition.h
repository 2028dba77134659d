/* exposition.h - writes Prometheus' text format, version 0.0.4. What does not fit into memory is remembered by the
 * buffer. */
#ifndef TERMINALS_PROVISIONER_EXPOSITION_H
#define TERMINALS_PROVISIONER_EXPOSITION_H

#include <stdint.h>

#include "common/buffer.h"
#include "provisioner/histogram.h"

/* Begins a metric: all its samples follow, and no other's. `type` is counter, gauge or histogram. */
void exposition_family(struct buffer *out, const char *name, const char *type, const char *help);

/* One label; a list of them ends with a NULL name. Values may be anything, names are ours. */
struct exposition_label {
    const char *name;
    const char *value;
};

/* `labels` may be NULL. */
void exposition_sample(struct buffer *out, const char *name, const struct exposition_label *labels, int64_t value);

/* The series of a histogram: buckets, sum and count. */
void exposition_histogram(struct buffer *out, const char *name, const struct exposition_label *labels,
                          const struct histogram *histogram, const struct histogram_bounds *bounds);

#endif
