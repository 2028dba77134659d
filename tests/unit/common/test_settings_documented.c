/* docs/settings.md is the users' table: every setting stands in it with its default, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/settings_table.h"

static char *read_document(void) {
    FILE *file = fopen("docs/settings.md", "r"); /* tests run from the top of the tree */
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static void test_every_setting_is_documented_with_its_default(void **state) {
    (void)state;
    char *document = read_document();
    for (size_t i = 0; i < settings_table_count; i++) {
        const struct setting *row = &settings_table[i];
        char expected[256];
        if (row->default_value == NULL && row->type != SETTING_SECRET) {
            snprintf(expected, sizeof expected, "\n| `%s` | | ", row->name);
        } else if (row->type == SETTING_SECRET) {
            snprintf(expected, sizeof expected, "\n| `%s` | ", row->name);
        } else {
            snprintf(expected, sizeof expected, "\n| `%s` | `%s` |", row->name, row->default_value);
        }
        if (strstr(document, expected) == NULL) {
            fail_msg("docs/settings.md has no row that starts with%s", expected);
        }
    }
    free(document);
}

static void test_nothing_else_is_documented(void **state) {
    (void)state;
    char *document = read_document();
    size_t rows = 0;
    for (char *row = strstr(document, "\n| `"); row != NULL; row = strstr(row + 1, "\n| `")) {
        rows++;
    }
    assert_int_equal(rows, settings_table_count);
    free(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_setting_is_documented_with_its_default),
        cmocka_unit_test(test_nothing_else_is_documented),
    };
    return cmocka_run_group_tests_name("settings_documented", tests, NULL, NULL);
}
