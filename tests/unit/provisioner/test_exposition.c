/* Prometheus' text format, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisioner/exposition.h"

static void test_a_metric_is_told_of_before_its_samples(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    exposition_family(&out, "terminals_things", "gauge", "Things.");
    exposition_sample(&out, "terminals_things", NULL, -7);
    exposition_sample(&out, "terminals_things",
                      (const struct exposition_label[]){{"a", "x"}, {"b", "y z"}, {NULL, NULL}}, INT64_MAX);
    assert_string_equal(out.data, "# HELP terminals_things Things.\n# TYPE terminals_things gauge\n"
                                  "terminals_things -7\nterminals_things{a=\"x\",b=\"y z\"} 9223372036854775807\n");
}

static void test_no_value_of_a_label_ends_it(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    exposition_sample(&out, "m", (const struct exposition_label[]){{"a", "\"} 1\nb \\ \xc3\xbc"}, {NULL, NULL}}, 1);
    assert_string_equal(out.data, "m{a=\"\\\"} 1\\nb \\\\ \xc3\xbc\"} 1\n");
}

static void test_a_bucket_counts_all_below_its_bound(void **state) {
    (void)state;
    static const struct histogram_bounds bounds = {2, {0.5, 2}};
    cleanup_buffer struct buffer out = {0};
    struct histogram histogram = {0};
    histogram_observe(&histogram, &bounds, 0.25);
    histogram_observe(&histogram, &bounds, 0.5); /* a bound belongs to its bucket */
    histogram_observe(&histogram, &bounds, 1);
    histogram_observe(&histogram, &bounds, 100);
    exposition_histogram(&out, "h", (const struct exposition_label[]){{"a", "x"}, {NULL, NULL}}, &histogram, &bounds);
    assert_string_equal(out.data, "h_bucket{a=\"x\",le=\"0.5\"} 2\nh_bucket{a=\"x\",le=\"2\"} 3\n"
                                  "h_bucket{a=\"x\",le=\"+Inf\"} 4\nh_sum{a=\"x\"} 101.75\nh_count{a=\"x\"} 4\n");
    buffer_free(&out);
    exposition_histogram(&out, "h", NULL, &(struct histogram){0}, &bounds);
    assert_string_equal(out.data, "h_bucket{le=\"0.5\"} 0\nh_bucket{le=\"2\"} 0\nh_bucket{le=\"+Inf\"} 0\n"
                                  "h_sum 0\nh_count 0\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_metric_is_told_of_before_its_samples),
        cmocka_unit_test(test_no_value_of_a_label_ends_it),
        cmocka_unit_test(test_a_bucket_counts_all_below_its_bound),
    };
    return cmocka_run_group_tests_name("exposition", tests, NULL, NULL);
}
