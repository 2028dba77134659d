#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/sha1.h"
#include "instance/websocket_handshake.h"

static void check_sha1(const char *text, const char *hex) {
    uint8_t digest[SHA1_SIZE];
    char out[2 * SHA1_SIZE + 1];
    sha1(text, strlen(text), digest);
    for (size_t i = 0; i < SHA1_SIZE; i++) {
        static const char digits[] = "0123456789abcdef";
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * SHA1_SIZE] = '\0';
    assert_string_equal(out, hex);
}

static void test_sha1_of_the_standard(void **state) {
    (void)state;
    check_sha1("abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_sha1("", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    check_sha1("0123456789012345678901234567890123456789012345678901234", "9f3a4ce7f66b1b74c34da2c5d732c39f81e0f8df");
}

static void test_the_accept_value_of_the_standard(void **state) {
    (void)state;
    char accept[WEBSOCKET_ACCEPT_SIZE];
    assert_true(websocket_accept_value("dGhlIHNhbXBsZSBub25jZQ==", accept)); /* RFC 6455 §1.3 */
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void test_keys_that_are_no_16_bytes_are_refused(void **state) {
    (void)state;
    char accept[WEBSOCKET_ACCEPT_SIZE];
    const char *const keys[] = {"",
                                "short",
                                "AAAAAAAAAAAAAAAAAAAAAAAA",
                                "dGhlIHNhbXBsZSBub25jZQ=",
                                "dGhlIHNhbXBsZSBub25jZQ===",
                                "dGhlIHNhbXBsZSBub25j-Q==",
                                "=GhlIHNhbXBsZSBub25jZQ=="};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_false(websocket_accept_value(keys[i], accept));
    }
}

static void test_tokens_are_found_in_lists(void **state) {
    (void)state;
    assert_true(websocket_header_has_token("Upgrade", "upgrade"));
    assert_true(websocket_header_has_token("keep-alive, Upgrade", "upgrade"));
    assert_true(websocket_header_has_token(",,upgrade\t,x", "upgrade"));
    assert_false(websocket_header_has_token("upgraded", "upgrade"));
    assert_false(websocket_header_has_token("x-upgrade", "upgrade"));
    assert_false(websocket_header_has_token("", "upgrade"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha1_of_the_standard),
        cmocka_unit_test(test_the_accept_value_of_the_standard),
        cmocka_unit_test(test_keys_that_are_no_16_bytes_are_refused),
        cmocka_unit_test(test_tokens_are_found_in_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
