#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisioner/haproxy_stat.h"
#include "provisioner/stats.h"

static void test_percentiles_are_nearest_rank(void **state) {
    (void)state;
    static struct stats stats;
    assert_int_equal(stats_percentile(&stats, 50), -1);
    stats_start_succeeded(&stats, 7);
    assert_int_equal(stats_percentile(&stats, 50), 7);
    assert_int_equal(stats_percentile(&stats, 99), 7);
    stats = (struct stats){0};
    for (int i = 100; i >= 1; i--) {
        stats_start_succeeded(&stats, i);
    }
    assert_int_equal(stats_percentile(&stats, 50), 50);
    assert_int_equal(stats_percentile(&stats, 95), 95);
    assert_int_equal(stats_percentile(&stats, 99), 99);
    assert_int_equal(stats_percentile(&stats, 100), 100);
}

static void test_only_the_last_thousand_count(void **state) {
    (void)state;
    static struct stats stats;
    for (int i = 0; i < 500; i++) {
        stats_start_succeeded(&stats, 1000000);
    }
    for (int i = 0; i < STATS_COLD_STARTS_KEPT; i++) {
        stats_start_succeeded(&stats, 20);
    }
    stats_start_failed(&stats, ERROR_TIMEOUT);
    assert_int_equal(stats_percentile(&stats, 99), 20);
    struct json_object *json = stats_cold_starts_json(&stats);
    assert_int_equal(json_get_int(json, "total", -1), 1501);
    assert_int_equal(json_get_int(json, "failed", -1), 1);
    json_object_put(json);
}

/* One that is recovered comes by the frontend `recover` too, and is still one. */
static void test_requests_are_counted_once(void **state) {
    (void)state;
    assert_int_equal(haproxy_stat_requests("# pxname,svname,req_rate,req_tot,x,\npublic,FRONTEND,3,41,,\n"
                                           "exporter,FRONTEND,0,1,,\nrecover,FRONTEND,0,1,,\n\n"),
                     41);
    assert_int_equal(haproxy_stat_requests("# pxname,svname,req_tot\n"), 0);
    assert_int_equal(haproxy_stat_requests("Unknown command\n"), -1);
    assert_int_equal(haproxy_stat_requests(""), -1);
    assert_int_equal(haproxy_stat_requests("a,req_tot\nshort"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_nearest_rank),
        cmocka_unit_test(test_only_the_last_thousand_count),
        cmocka_unit_test(test_requests_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
