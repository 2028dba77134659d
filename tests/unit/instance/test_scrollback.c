#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "instance/scrollback.h"

static unsigned char at(size_t position) {
    return (unsigned char)(position * 131 + position / 251);
}

/* What is kept must be the last bytes of all that was written, whatever the sizes of the pieces. */
static void check(const struct scrollback *scrollback, size_t written) {
    struct scrollback_piece pieces[2];
    scrollback_read(scrollback, pieces);
    size_t kept = pieces[0].length + pieces[1].length;
    assert_int_equal(kept, written < SCROLLBACK_MAX_BYTES ? written : SCROLLBACK_MAX_BYTES);
    size_t position = written - kept;
    for (size_t piece = 0; piece < 2; piece++) {
        for (size_t i = 0; i < pieces[piece].length; i++, position++) {
            if ((unsigned char)pieces[piece].bytes[i] != at(position)) {
                fail_msg("byte %zu of %zu is wrong", position, written);
            }
        }
    }
}

static void test_the_last_bytes_are_kept(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4095, 2, 100000, 262144, 7, 262143, 300000, 1, 131072, 131072, 5};
    struct scrollback scrollback = {0};
    size_t written = 0;
    check(&scrollback, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *bytes = malloc(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            bytes[j] = (char)at(written + j);
        }
        scrollback_append(&scrollback, bytes, sizes[i]);
        written += sizes[i];
        free(bytes);
        check(&scrollback, written);
    }
    scrollback_free(&scrollback);
    check(&scrollback, 0);
}

static void test_little_costs_little(void **state) {
    (void)state;
    struct scrollback scrollback = {0};
    scrollback_append(&scrollback, "prompt", 6);
    assert_true(scrollback.capacity <= 4096);
    scrollback_free(&scrollback);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_bytes_are_kept),
        cmocka_unit_test(test_little_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
