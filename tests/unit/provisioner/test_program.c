/* Which programs are taken for our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "provisioner/backends/program.h"

static void test_only_a_native_program_beside_us_is_ours(void **state) {
    (void)state;
    char script[PATH_MAX];
    cleanup_free char *self = realpath("/proc/self/exe", NULL);
    assert_non_null(self);
    assert_true(program_is_ours(self, strrchr(self, '/') + 1));
    assert_false(program_is_ours(self, "open-terminal-of-another-name"));
    assert_false(program_is_ours("/bin/true", "true"));

    int folder_length = (int)(strrchr(self, '/') - self);
    snprintf(script, sizeof script, "%.*s/script-beside-us", folder_length, self);
    FILE *file = fopen(script, "w");
    assert_non_null(file);
    assert_true(fputs("#!/usr/bin/python3\n", file) >= 0 && fclose(file) == 0 && chmod(script, 0755) == 0);
    cleanup_free char *found = program_find(strrchr(script, '/') + 1);
    bool is_ours = found != NULL && program_is_ours(found, strrchr(script, '/') + 1);
    assert_int_equal(unlink(script), 0);
    assert_non_null(found);
    assert_string_equal(found, script);
    assert_false(is_ours);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_a_native_program_beside_us_is_ours),
    };
    return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
