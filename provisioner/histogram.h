/* histogram.h - how long something took, as Prometheus' histograms count it. */
#ifndef TERMINALS_PROVISIONER_HISTOGRAM_H
#define TERMINALS_PROVISIONER_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS_MAX 16

/* The upper bounds of the buckets, in seconds, in ascending order; +Inf comes after the last. */
struct histogram_bounds {
    size_t count;
    double seconds[HISTOGRAM_BUCKETS_MAX];
};
extern const struct histogram_bounds histogram_bounds_of_starts;    /* 5 ms to 2 minutes */
extern const struct histogram_bounds histogram_bounds_of_latencies; /* 0.1 ms to 5 s */

/* All zero is an empty one. */
struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS_MAX + 1]; /* of each bucket alone; the last is beyond all bounds */
    uint64_t total;
    double sum_seconds;
};

/* Counts one duration. `bounds` are the same in all calls for one histogram. */
void histogram_observe(struct histogram *histogram, const struct histogram_bounds *bounds, double seconds);

/* A monotonic clock, fine enough for what takes microseconds. */
double histogram_now_seconds(void);

#endif
