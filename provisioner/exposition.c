#include "provisioner/exposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void exposition_family(struct buffer *out, const char *name, const char *type, const char *help) {
    buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void append_label(struct buffer *out, const char *name, const char *value, char before) {
    buffer_append_format(out, "%c%s=\"", before, name);
    while (*value != '\0') {
        size_t plain = strcspn(value, "\\\"\n");
        buffer_append(out, value, plain);
        value += plain;
        if (*value != '\0') {
            buffer_append_string(out, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\");
            value++;
        }
    }
    buffer_append(out, "\"", 1);
}

/* `bound` is the upper bound of a bucket, NULL outside of one. */
static void append_labels(struct buffer *out, const struct exposition_label *labels, const char *bound) {
    char before = '{';
    for (; labels != NULL && labels->name != NULL; labels++) {
        append_label(out, labels->name, labels->value, before);
        before = ',';
    }
    if (bound != NULL) {
        append_label(out, "le", bound, before);
        before = ',';
    }
    if (before == ',') {
        buffer_append(out, "}", 1);
    }
}

void exposition_sample(struct buffer *out, const char *name, const struct exposition_label *labels, int64_t value) {
    buffer_append_string(out, name);
    append_labels(out, labels, NULL);
    buffer_append_format(out, " %" PRId64 "\n", value);
}

void exposition_histogram(struct buffer *out, const char *name, const struct exposition_label *labels,
                          const struct histogram *histogram, const struct histogram_bounds *bounds) {
    uint64_t below = 0;
    for (size_t i = 0; i <= bounds->count; i++) {
        char bound[32] = "+Inf";
        if (i < bounds->count) {
            snprintf(bound, sizeof bound, "%g", bounds->seconds[i]);
        }
        below += histogram->counts[i];
        buffer_append_format(out, "%s_bucket", name);
        append_labels(out, labels, bound);
        buffer_append_format(out, " %" PRIu64 "\n", below);
    }
    buffer_append_format(out, "%s_sum", name);
    append_labels(out, labels, NULL);
    buffer_append_format(out, " %.9g\n%s_count", histogram->sum_seconds, name);
    append_labels(out, labels, NULL);
    buffer_append_format(out, " %" PRIu64 "\n", histogram->total);
}
