#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/descendants.h"

static void test_what_hides_in_a_session_of_its_own_is_found(void **state) {
    (void)state;
    struct error err = {0};
    int ready[2];
    assert_true(descendants_adopt(&err));
    assert_int_equal(pipe(ready), 0);
    /* A child that ends at once, and its orphan, which ignores what can be ignored and has an odd name. */
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            setsid();
            signal(SIGTERM, SIG_IGN);
            FILE *name = fopen("/proc/self/comm", "w");
            if (name != NULL) {
                fputs("a) R 1 (b", name);
                fclose(name);
            }
            pid_t self = getpid();
            (void)!write(ready[1], &self, sizeof self);
            for (;;) {
                pause();
            }
        }
        _exit(0);
    }
    pid_t orphan = 0;
    assert_int_equal(read(ready[0], &orphan, sizeof orphan), sizeof orphan);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(kill(orphan, 0), 0);
    assert_int_equal(descendants_kill_all(5000), 1);
    assert_int_equal(kill(orphan, 0), -1);
    close(ready[0]);
    close(ready[1]);
}

static void test_with_nothing_left_there_is_nothing_to_do(void **state) {
    (void)state;
    assert_int_equal(descendants_kill_all(5000), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_hides_in_a_session_of_its_own_is_found),
        cmocka_unit_test(test_with_nothing_left_there_is_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
