/* What is remembered about tokens, for how long, and how much of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fcgi-api/open_webui_answer.h"
#include "fcgi-api/verdicts.h"

static int make(void **state) {
    *state = verdicts_new();
    return *state == NULL ? -1 : 0;
}

static int release(void **state) {
    verdicts_free(*state);
    return 0;
}

/* A digest of its own for every number. */
static const char *digest_of(int number) {
    static char digest[DIGEST_HEX_SIZE];
    snprintf(digest, sizeof digest, "%064X", (unsigned)number);
    return digest;
}

static enum verdict look(struct verdicts *verdicts, int number, int64_t now_ms) {
    char user_id[NAME_USER_ID_MAX_BYTES + 1];
    return verdicts_find(verdicts, digest_of(number), now_ms, user_id);
}

static void test_a_good_token_is_good_until_its_time_is_over(void **state) {
    char user_id[NAME_USER_ID_MAX_BYTES + 1] = "";
    verdicts_accept(*state, digest_of(1), "alice", 1000, 2000);
    assert_int_equal(verdicts_find(*state, digest_of(1), 1999, user_id), VERDICT_ACCEPTED);
    assert_string_equal(user_id, "alice");
    assert_int_equal(look(*state, 1, 2000), VERDICT_UNKNOWN);
    assert_int_equal(look(*state, 1, 1999), VERDICT_UNKNOWN); /* forgotten for good */
    verdicts_accept(*state, digest_of(2), "alice", 1000, 1000);
    assert_int_equal(look(*state, 2, 1000), VERDICT_UNKNOWN);
}

static void test_a_refusal_is_remembered_for_a_few_seconds(void **state) {
    verdicts_refuse(*state, digest_of(1), 1000);
    assert_int_equal(look(*state, 1, 999 + VERDICTS_REFUSED_MS), VERDICT_REFUSED);
    assert_int_equal(look(*state, 1, 1000 + VERDICTS_REFUSED_MS), VERDICT_UNKNOWN);
}

static void test_the_last_word_holds(void **state) {
    verdicts_refuse(*state, digest_of(1), 1000);
    verdicts_accept(*state, digest_of(1), "alice", 1000, 9000);
    assert_int_equal(look(*state, 1, 1001), VERDICT_ACCEPTED);
    verdicts_refuse(*state, digest_of(1), 1002);
    assert_int_equal(look(*state, 1, 1003), VERDICT_REFUSED);
    verdicts_accept(*state, digest_of(1), "bob", 1004, 1004);
    assert_int_equal(look(*state, 1, 1004), VERDICT_UNKNOWN);
}

static void test_a_flood_of_bad_tokens_pushes_out_bad_ones_only(void **state) {
    verdicts_accept(*state, digest_of(1), "alice", 0, 1000000);
    for (int i = 0; i < 3 * VERDICTS_REFUSED_MAX; i++) {
        verdicts_refuse(*state, digest_of(1000 + i), 1);
    }
    assert_int_equal(look(*state, 1, 2), VERDICT_ACCEPTED);
    assert_int_equal(look(*state, 1000, 2), VERDICT_UNKNOWN);
    assert_int_equal(look(*state, 1000 + 3 * VERDICTS_REFUSED_MAX - 1, 2), VERDICT_REFUSED);
    int remembered = 0;
    for (int i = 0; i < 3 * VERDICTS_REFUSED_MAX; i++) {
        remembered += look(*state, 1000 + i, 2) == VERDICT_REFUSED;
    }
    assert_int_equal(remembered, VERDICTS_REFUSED_MAX);
}

static void test_good_tokens_are_bounded_too(void **state) {
    for (int i = 0; i <= VERDICTS_ACCEPTED_MAX; i++) {
        verdicts_accept(*state, digest_of(i), "alice", 0, 1000);
    }
    assert_int_equal(look(*state, 0, 1), VERDICT_UNKNOWN);
    assert_int_equal(look(*state, 1, 1), VERDICT_ACCEPTED);
    assert_int_equal(look(*state, VERDICTS_ACCEPTED_MAX, 1), VERDICT_ACCEPTED);
}

static void test_a_token_that_was_good_is_familiar_until_it_is_refused(void **state) {
    verdicts_accept(*state, digest_of(1), "alice", 0, 10);
    verdicts_accept(*state, digest_of(2), "bob", 0, 0); /* not to be remembered as good */
    assert_int_equal(look(*state, 1, 10), VERDICT_UNKNOWN);
    assert_int_equal(look(*state, 2, 0), VERDICT_UNKNOWN);
    assert_true(verdicts_is_familiar(*state, digest_of(1), 10));
    assert_true(verdicts_is_familiar(*state, digest_of(2), VERDICTS_FAMILIAR_MS - 1));
    assert_false(verdicts_is_familiar(*state, digest_of(2), VERDICTS_FAMILIAR_MS));
    assert_false(verdicts_is_familiar(*state, digest_of(3), 0));
    verdicts_refuse(*state, digest_of(1), 20);
    assert_false(verdicts_is_familiar(*state, digest_of(1), 20));
}

static void test_open_webuis_answers_are_told_apart(void **state) {
    (void)state;
    static const struct {
        long status;
        const char *body;
        enum error_code code;
    } answers[] = {
        {200, "{\"id\":\"alice\",\"role\":\"user\"}", ERROR_NONE},
        {200, "{\"id\":\"alice\"}", ERROR_NONE},
        {200, "{\"id\":\"alice\",\"role\":\"admin\"}", ERROR_NONE},
        {200, "{\"id\":\"alice\",\"role\":\"pending\"}", ERROR_UNAUTHORIZED},
        {401, "{\"detail\":\"401 Unauthorized\"}", ERROR_UNAUTHORIZED},
        {403, "", ERROR_UNAUTHORIZED},
        {200, "", ERROR_BACKEND},
        {200, "null", ERROR_BACKEND},
        {200, "[]", ERROR_BACKEND},
        {200, "{}", ERROR_BACKEND},
        {200, "{\"id\":\"\"}", ERROR_BACKEND},
        {200, "{\"id\":\"*\"}", ERROR_BACKEND},
        {200, "{\"id\":7}", ERROR_BACKEND},
        {200, "{\"id\":\"a\\u0000\"}", ERROR_BACKEND},
        {200, "{\"id\":\"a\\nb\"}", ERROR_BACKEND},
        {200, "{\"id\":\"alice\"", ERROR_BACKEND},
        {200, "<!doctype html>", ERROR_BACKEND},
        {204, "", ERROR_BACKEND},
        {307, "", ERROR_BACKEND},
        {404, "{\"id\":\"alice\"}", ERROR_BACKEND},
        {429, "", ERROR_BACKEND},
        {500, "{\"id\":\"alice\"}", ERROR_BACKEND},
        {0, "", ERROR_BACKEND},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct token_outcome outcome;
        open_webui_read_answer(answers[i].status, answers[i].body, strlen(answers[i].body), &outcome);
        if (outcome.err.code != answers[i].code) {
            fail_msg("%ld %s: %s", answers[i].status, answers[i].body, outcome.err.message);
        }
        assert_string_equal(outcome.user_id, answers[i].code == ERROR_NONE ? "alice" : "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_good_token_is_good_until_its_time_is_over, make, release),
        cmocka_unit_test_setup_teardown(test_a_refusal_is_remembered_for_a_few_seconds, make, release),
        cmocka_unit_test_setup_teardown(test_the_last_word_holds, make, release),
        cmocka_unit_test_setup_teardown(test_a_flood_of_bad_tokens_pushes_out_bad_ones_only, make, release),
        cmocka_unit_test_setup_teardown(test_good_tokens_are_bounded_too, make, release),
        cmocka_unit_test_setup_teardown(test_a_token_that_was_good_is_familiar_until_it_is_refused, make, release),
        cmocka_unit_test(test_open_webuis_answers_are_told_apart),
    };
    return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
