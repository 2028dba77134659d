#include "provisioner/histogram.h"

#include <time.h>

const struct histogram_bounds histogram_bounds_of_starts = {
    14, {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120}};
const struct histogram_bounds histogram_bounds_of_latencies = {
    15, {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}};

void histogram_observe(struct histogram *histogram, const struct histogram_bounds *bounds, double seconds) {
    size_t bucket = 0;
    while (bucket < bounds->count && seconds > bounds->seconds[bucket]) {
        bucket++;
    }
    histogram->counts[bucket]++;
    histogram->total++;
    histogram->sum_seconds += seconds;
}

double histogram_now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
