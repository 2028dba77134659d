#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "instance/toml.h"

static char seen[1024];
static struct error err;

static bool note(void *state, const char *key, enum toml_kind kind, const char *text, struct error *problem) {
    (void)state;
    (void)problem;
    static const char letters[] = "sifba";
    size_t used = strlen(seen);
    snprintf(seen + used, sizeof seen - used, "%s:%c:%s|", key, letters[kind], text);
    return true;
}

static bool parse(const char *text) {
    seen[0] = '\0';
    return toml_parse(text, strlen(text), note, NULL, &err);
}

#define READS(text, expected)                                                                                          \
    do {                                                                                                               \
        assert_true(parse(text));                                                                                      \
        assert_string_equal(seen, expected);                                                                           \
    } while (0)

static void test_settings_are_read_as_the_specification_says(void **state) {
    (void)state;
    READS("", "");
    READS("# only a comment", "");
    READS("port = 8000\r\nhost = \"::1\" # here\r\n", "port:i:8000|host:s:::1|");
    READS("a = true\nb=false", "a:b:true|b:b:false|");
}

static void test_numbers(void **state) {
    (void)state;
    READS("a = 1_000\nb = +5\nc = -7\nd = 0xdead_beef\ne = 0o755\nf = 0b101",
          "a:i:1000|b:i:5|c:i:-7|d:i:3735928559|e:i:493|f:i:5|");
    READS("a = 1.5\nb = -0.25e+2\nc = 5e3\nd = inf", "a:f:1.5|b:f:-0.25e+2|c:f:5e3|d:f:inf|");
    static const char *const bad[] = {"a = 01",         "a = 1__0",     "a = _1",  "a = 1_",
                                      "a = 1.",         "a = .5",       "a = 0x",  "a = 1e",
                                      "a = +",          "a = --1",      "a = 1 2", "a = ",
                                      "a = 1979-05-27", "a = 07:32:00", "a = 0b2", "a = 0xfffffffffffffffff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse(bad[i]));
        assert_memory_equal(err.message, "line 1: ", 8);
    }
}

static void test_strings(void **state) {
    (void)state;
    READS("a = \"t\\t \\\"q\\\" \\u00e9 \\U0001F600\"", "a:s:t\t \"q\" \xc3\xa9 \xf0\x9f\x98\x80|");
    READS("a = 'C:\\new'", "a:s:C:\\new|");
    READS("a = \"\"\"\none\ntwo \\\n   three\"\"\"", "a:s:one\ntwo three|");
    READS("a = '''\nkeep \\n'''", "a:s:keep \\n|");
    READS("a = \"\"\"say \"\"hi\"\"\"\"\"", "a:s:say \"\"hi\"\"|");
    static const char *const bad[] = {"a = \"x",       "a = 'x\n'",    "a = \"\\q\"",     "a = \"\\ud800\"",
                                      "a = \"\\u12\"", "a = \"\x01\"", "a = \"\\u0000\"", "a = \"\"\"x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse(bad[i]));
    }
}

static void test_keys_tables_and_arrays(void **state) {
    (void)state;
    READS("\"a b\" = 1\n'c' = 2\nd . e = 3\n[t.u]\nx = 4", "a b:i:1|c:i:2|d.e:i:3|t.u.x:i:4|");
    READS("a = [\n  \"x\", # one\n  \"y\",\n]", "a:a:x,y|");
    READS("a = []", "a:a:|");
    static const char *const bad[] = {"= 1",
                                      "a b = 1",
                                      "a",
                                      "[t",
                                      "[]",
                                      "[[t]]\n",
                                      "a = {b = 1}",
                                      "a = [1 2]",
                                      "a = [",
                                      "a.= 1",
                                      "a = [[[[[1]]]]]",
                                      "[t] x",
                                      "\"\"\"a\"\"\" = 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse(bad[i]));
    }
}

static void test_a_mistake_is_told_with_its_line(void **state) {
    (void)state;
    assert_false(parse("a = 1\n\nb = \"\"\"\nx\n\"\"\"\nc = ?\n"));
    assert_string_equal(err.message, "line 6: expected a value");
    assert_false(parse("a = \"\xff\""));
    assert_false(toml_parse("a = \"x\0y\"", 9, note, NULL, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_are_read_as_the_specification_says),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_keys_tables_and_arrays),
        cmocka_unit_test(test_a_mistake_is_told_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
