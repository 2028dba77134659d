/* Any file name can be told as valid text and given back unchanged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "instance/utf8.h"

static void test_well_formed_sequences_only(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_valid;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xC3\xA9", true},
        {"\xE6\x96\x87", true},
        {"\xF0\x9F\x98\x80", true},
        {"\xF4\x8F\xBF\xBF", true},
        {"\x80", false},
        {"\xC0\x80", false},         /* overlong NUL */
        {"\xC1\xBF", false},         /* overlong */
        {"\xE0\x9F\xBF", false},     /* overlong */
        {"\xED\xA0\x80", false},     /* a surrogate */
        {"\xF0\x8F\xBF\xBF", false}, /* overlong */
        {"\xF4\x90\x80\x80", false}, /* past U+10FFFF */
        {"\xF5\x80\x80\x80", false},
        {"\xFF", false},
        {"\xE6\x96", false}, /* cut */
        {"\xE6\x96x", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(utf8_is_valid(cases[i].text, strlen(cases[i].text)), cases[i].is_valid);
    }
}

static void test_code_points(void **state) {
    (void)state;
    uint32_t code_point;
    assert_int_equal(utf8_decode("\xF0\x9F\x98\x80", 4, &code_point), 4);
    assert_int_equal(code_point, 0x1F600);
    assert_int_equal(utf8_decode("\xE2\x80\xA8", 3, &code_point), 3);
    assert_int_equal(code_point, 0x2028);
    assert_int_equal(utf8_decode("", 0, &code_point), 0);
}

static void test_a_sequence_that_is_cut_is_told_from_one_that_is_wrong(void **state) {
    (void)state;
    bool is_cut;
    assert_int_equal(utf8_valid_prefix("ab\xE6\x96", 4, &is_cut), 2);
    assert_true(is_cut);
    assert_int_equal(utf8_valid_prefix("ab\xE6x", 4, &is_cut), 2);
    assert_false(is_cut);
    assert_int_equal(utf8_valid_prefix("ab\xED\xA0", 4, &is_cut), 2);
    assert_false(is_cut);
}

static void check_round_trip(const char *name) {
    cleanup_free char *text = utf8_name_to_text(name);
    assert_non_null(text);
    assert_true(utf8_is_valid(text, strlen(text)));
    size_t length = utf8_text_to_name(text, strlen(text));
    assert_int_equal(length, strlen(name));
    assert_string_equal(text, name);
}

static void test_every_name_of_two_bytes_survives(void **state) {
    (void)state;
    for (int first = 1; first < 256; first++) {
        for (int second = 1; second < 256; second++) {
            check_round_trip((char[]){(char)first, (char)second, '\0'});
        }
    }
}

static void test_random_names_and_the_escapes_themselves_survive(void **state) {
    (void)state;
    static const char *const names[] = {"",         "\xEE\xBE\x80",       "\xEE\xBF\xBF",
                                        "\xEE\xBE", "x\xEE\xBE\x80\xFFy", "\xE9t\xE9"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        check_round_trip(names[i]);
    }
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char name[12] = {0};
        for (size_t i = 0; i < sizeof(name) - 1; i++) {
            int byte = rand_r(&seed);
            name[i] = (char)(byte % 3 == 0 ? 0xEE : byte % 3 == 1 ? 0x80 | (byte & 0x3F) : 1 + byte % 255);
            name[i] = name[i] == '\0' ? 'x' : name[i];
        }
        check_round_trip(name);
    }
}

static void test_json_text_parses_back(void **state) {
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {'a', (char)byte, 'b', '\0'};
        cleanup_buffer struct buffer json = {0};
        assert_true(utf8_append_json(&json, name, 3));
        struct error err;
        cleanup_json struct json_object *value = json_parse(json.data, json.length, &err);
        assert_non_null(value);
        cleanup_free char *text = strdup(json_object_get_string(value));
        utf8_text_to_name(text, strlen(text));
        assert_string_equal(text, name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well_formed_sequences_only),
        cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_a_sequence_that_is_cut_is_told_from_one_that_is_wrong),
        cmocka_unit_test(test_every_name_of_two_bytes_survives),
        cmocka_unit_test(test_random_names_and_the_escapes_themselves_survive),
        cmocka_unit_test(test_json_text_parses_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
