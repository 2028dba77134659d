/* Media types by name and, where that says nothing, by content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "instance/mime.c"

static void test_the_table_is_sorted(void **state) {
    (void)state;
    for (size_t i = 1; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        if (strcmp(extensions[i - 1].name, extensions[i].name) >= 0) {
            fail_msg("%s stands before %s", extensions[i - 1].name, extensions[i].name);
        }
    }
}

static void test_every_row_is_found(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "/x.y/a.b.%s", extensions[i].name);
        assert_string_equal(mime_of_name(name), extensions[i].type);
    }
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(mime_of_name("a.PNG"), "image/png");
    assert_string_equal(mime_of_name("hello.txt"), "text/plain");
    assert_string_equal(mime_of_name("blob.bin"), MIME_UNKNOWN);
    assert_string_equal(mime_of_name("/home/user/Makefile"), MIME_UNKNOWN);
    assert_string_equal(mime_of_name("/home/user.png/Makefile"), MIME_UNKNOWN);
    assert_string_equal(mime_of_name("/home/.png"), MIME_UNKNOWN);
    assert_string_equal(mime_of_name("x."), MIME_UNKNOWN);
    assert_string_equal(mime_of_name(""), MIME_UNKNOWN);
}

static void test_an_image_without_a_known_name_is_still_an_image(void **state) {
    (void)state;
    assert_string_equal(mime_of_file("/photo", "\x89PNG\r\n\x1a\n....", 12), "image/png");
    assert_string_equal(mime_of_file("/photo", "RIFF....WEBPVP8 ", 16), "image/webp");
    assert_string_equal(mime_of_file("/photo", "RIFF....WAVEfmt ", 16), MIME_UNKNOWN);
    assert_string_equal(mime_of_file("/photo", "RIFF", 4), MIME_UNKNOWN);
    assert_string_equal(mime_of_file("/photo", "\xff\xd8", 2), MIME_UNKNOWN);
    assert_string_equal(mime_of_file("/photo", "", 0), MIME_UNKNOWN);
    assert_string_equal(mime_of_file("/photo.txt", "\x89PNG\r\n\x1a\n....", 12), "text/plain");
}

static void test_types_are_listed_by_their_beginnings(void **state) {
    (void)state;
    assert_true(mime_is_listed("image/png", "image"));
    assert_true(mime_is_listed("audio/mpeg", "image, audio/"));
    assert_true(mime_is_listed("image/png", "audio,IMAGE/PNG"));
    assert_false(mime_is_listed("text/plain", "image,audio"));
    assert_false(mime_is_listed("text/plain", ""));
    assert_false(mime_is_listed("text/plain", " , "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_sorted),
        cmocka_unit_test(test_every_row_is_found),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_an_image_without_a_known_name_is_still_an_image),
        cmocka_unit_test(test_types_are_listed_by_their_beginnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
