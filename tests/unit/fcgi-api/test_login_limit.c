/* Who guesses waits, nobody else does, and no number of addresses costs more memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fcgi-api/login_limit.c"

#define NOW_MS 1000000

static void count(struct login_limit *limit, const char *address, int times, int64_t now_ms) {
    for (int i = 0; i < times; i++) {
        login_limit_count(limit, address, now_ms);
    }
}

static int make(void **state) {
    *state = login_limit_new(3, 60);
    return *state == NULL;
}

static int release(void **state) {
    login_limit_free(*state);
    return 0;
}

static void test_an_address_waits_after_its_last_allowed_failure(void **state) {
    count(*state, "192.0.2.1", 2, NOW_MS);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS), 0);
    count(*state, "192.0.2.1", 1, NOW_MS + 59000);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 59000), 60);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 59001), 60); /* rounded up */
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 60000), 59);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 118999), 1);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 119000), 0);
    /* All is forgotten then. */
    count(*state, "192.0.2.1", 2, NOW_MS + 119000);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 119000), 0);
}

static void test_failures_long_ago_do_not_count(void **state) {
    count(*state, "192.0.2.1", 2, NOW_MS);
    count(*state, "192.0.2.1", 2, NOW_MS + 60000);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 60000), 0);
}

static void test_a_wait_does_not_grow_by_trying(void **state) {
    count(*state, "192.0.2.1", 3, NOW_MS);
    count(*state, "192.0.2.1", 1000, NOW_MS + 30000);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 59999), 1);
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 60000), 0);
}

static void test_which_addresses_are_one(void **state) {
    static const struct {
        const char *failed;
        const char *asked;
        bool waits;
    } cases[] = {
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
        {"2001:db8:0:1::1", "2001:DB8:0:1::1", true},
        {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
        {"::1", "127.0.0.1", false},
        {"", "", false}, /* on HAProxy's own socket */
        {"unix", "unix", false},
        {"192.0.2.1 ", "192.0.2.1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct login_limit *limit = login_limit_new(1, 60);
        count(limit, cases[i].failed, 1, NOW_MS);
        if ((login_limit_wait_seconds(limit, cases[i].asked, NOW_MS) > 0) != cases[i].waits) {
            fail_msg("%s failed, %s %s", cases[i].failed, cases[i].asked, cases[i].waits ? "passes" : "waits");
        }
        login_limit_free(limit);
    }
}

static void test_a_flood_from_everywhere_frees_nobody_who_waits(void **state) {
    char address[64];
    count(*state, "192.0.2.1", 3, NOW_MS);
    for (unsigned i = 0; i < 1000000; i++) {
        snprintf(address, sizeof address, "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
        count(*state, address, 1, NOW_MS + 1);
    }
    assert_int_equal(login_limit_wait_seconds(*state, "192.0.2.1", NOW_MS + 2), 60);
    /* And there is still room to count another. */
    count(*state, "198.51.100.1", 3, NOW_MS + 2);
    assert_int_equal(login_limit_wait_seconds(*state, "198.51.100.1", NOW_MS + 2), 60);
}

static void test_without_a_limit_nobody_waits(void **state) {
    (void)state;
    count(NULL, "192.0.2.1", 100, NOW_MS);
    assert_int_equal(login_limit_wait_seconds(NULL, "192.0.2.1", NOW_MS), 0);
    login_limit_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_address_waits_after_its_last_allowed_failure, make, release),
        cmocka_unit_test_setup_teardown(test_failures_long_ago_do_not_count, make, release),
        cmocka_unit_test_setup_teardown(test_a_wait_does_not_grow_by_trying, make, release),
        cmocka_unit_test_setup_teardown(test_which_addresses_are_one, make, release),
        cmocka_unit_test_setup_teardown(test_a_flood_from_everywhere_frees_nobody_who_waits, make, release),
        cmocka_unit_test_setup_teardown(test_without_a_limit_nobody_waits, make, release),
    };
    return cmocka_run_group_tests_name("login_limit", tests, NULL, NULL);
}
