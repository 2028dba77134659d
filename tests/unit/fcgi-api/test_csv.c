/* Comma-separated values: what a spreadsheet or a parser of RFC 4180 reads back. */
#include "tests/unit/fcgi-api/world.h"

#include <string.h>

#include "fcgi-api/csv.h"

static const char *const names[] = {"a", "b"};

static void expect_row(const char *json, const char *line) {
    struct error err;
    cleanup_buffer struct buffer out = {0};
    cleanup_json struct json_object *row = json_parse_object(json, strlen(json), &err);
    assert_non_null(row);
    assert_true(csv_append_row(&out, row, names, 2));
    assert_string_equal(out.data, line);
}

static void test_names_are_the_first_line(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    assert_true(csv_append_names(&out, names, 2));
    assert_string_equal(out.data, "a,b\r\n");
}

static void test_only_what_needs_it_is_quoted(void **state) {
    (void)state;
    expect_row("{\"a\":\"x\",\"b\":7}", "x,7\r\n");
    expect_row("{\"a\":null}", ",\r\n");
    expect_row("{\"a\":\"x,y\",\"b\":\"z\"}", "\"x,y\",z\r\n");
    expect_row("{\"a\":\"say \\\"hi\\\"\",\"b\":\"\\\"\"}", "\"say \"\"hi\"\"\",\"\"\"\"\r\n");
    expect_row("{\"a\":\"two\\r\\nlines\",\"b\":\"\"}", "\"two\r\nlines\",\r\n");
    expect_row("{\"a\":\"sch\\u00f6n\",\"b\":401}", "sch\xc3\xb6n,401\r\n");
}

static void test_what_a_spreadsheet_would_calculate_is_text(void **state) {
    (void)state;
    expect_row("{\"a\":\"=1+1\",\"b\":\"+1\"}", "\"'=1+1\",\"'+1\"\r\n");
    expect_row("{\"a\":\"-1\",\"b\":\"@SUM(A1)\"}", "\"'-1\",\"'@SUM(A1)\"\r\n");
    expect_row("{\"a\":\"\\t=1\",\"b\":\"\\r=1\"}", "\"'\t=1\",\"'\r=1\"\r\n");
    expect_row("{\"a\":\"=HYPERLINK(\\\"http://x\\\")\",\"b\":\"1=1\"}", "\"'=HYPERLINK(\"\"http://x\"\")\",1=1\r\n");
}

/* Where semicolons part cells, which is half of Europe, quotes or not. */
static void test_a_formula_behind_a_semicolon_is_text(void **state) {
    (void)state;
    expect_row("{\"a\":\"x;=1+1\",\"b\":\"Mozilla/5.0 (X11; Linux)\"}", "\"x;'=1+1\",\"Mozilla/5.0 (X11; Linux)\"\r\n");
    expect_row("{\"a\":\";;@x\",\"b\":\"x;\"}", "\";;'@x\",\"x;\"\r\n");
}

static void test_a_wide_sign_is_one(void **state) {
    (void)state;
    expect_row("{\"a\":\"\\uff1d1\",\"b\":\"\\uff0b\\uff1d\"}", "\"'\xef\xbc\x9d"
                                                                "1\",\"'\xef\xbc\x8b\xef\xbc\x9d\"\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_the_first_line),
        cmocka_unit_test(test_only_what_needs_it_is_quoted),
        cmocka_unit_test(test_what_a_spreadsheet_would_calculate_is_text),
        cmocka_unit_test(test_a_formula_behind_a_semicolon_is_text),
        cmocka_unit_test(test_a_wide_sign_is_one),
    };
    return cmocka_run_group_tests_name("csv", tests, NULL, NULL);
}
