/* Forms as clients send them, cut at every place a network can cut them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "instance/multipart.h"

#define TYPE "multipart/form-data; boundary=XBOUND"

/* What the parser told, as text: "[name|filename]content;" a part. */
static bool note_begin(void *state, const struct multipart_part *part, struct error *err) {
    (void)err;
    return buffer_append_format(state, "[%s|%s]", part->name, part->filename != NULL ? part->filename : "-");
}

static bool note_data(void *state, const char *bytes, size_t length, struct error *err) {
    (void)err;
    return buffer_append(state, bytes, length);
}

static bool note_end(void *state, struct error *err) {
    (void)err;
    return buffer_append_string(state, ";");
}

static const struct multipart_events notes = {note_begin, note_data, note_end};

/* Feeds the body in three pieces, cut at `first` and `second`. */
static bool parse(const char *type, const char *body, size_t length, size_t first, size_t second, struct buffer *seen) {
    struct error err;
    struct multipart_parser *parser = multipart_new(type, &notes, seen, &err);
    assert_non_null(parser);
    bool ok = multipart_feed(parser, body, first, &err) && multipart_feed(parser, body + first, second - first, &err) &&
              multipart_feed(parser, body + second, length - second, &err) && multipart_finish(parser, &err);
    multipart_free(parser);
    return ok;
}

static void check(const char *type, const char *body, const char *expected) {
    size_t length = strlen(body);
    for (size_t cut = 0; cut <= length; cut++) {
        for (size_t second = cut; second <= length && second <= cut + 3; second++) {
            cleanup_buffer struct buffer seen = {0};
            buffer_append(&seen, "", 0);
            assert_true(parse(type, body, length, cut, second, &seen));
            assert_string_equal(seen.data, expected);
        }
    }
}

#define PART(headers, content) "--XBOUND\r\n" headers "\r\n\r\n" content "\r\n"
#define FILE_HEADER            "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\""
#define END                    "--XBOUND--\r\n"

static void test_one_file(void **state) {
    (void)state;
    check(TYPE, PART(FILE_HEADER "\r\nContent-Type: text/plain", "hello\r\nworld") END, "[file|a.txt]hello\r\nworld;");
}

static void test_several_parts_a_preamble_and_an_epilogue(void **state) {
    (void)state;
    check(TYPE,
          "dropped\r\n" PART("Content-Disposition: form-data; name=a", "1") PART(FILE_HEADER, "") END
          "dropped too\r\n--XBOUND\r\n",
          "[a|-]1;[file|a.txt];");
}

static void test_content_that_looks_like_the_boundary(void **state) {
    (void)state;
    static const char *const contents[] = {"\r",          "\r\n",       "\r\r\n--XBOUN",  "--XBOUND",    "\n--XBOUND--",
                                           "\r\n--XBOUN", "\r\n\r\n--", "x\r\n-\r\n--XY", "\r\n\r\r\n\r"};
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        cleanup_buffer struct buffer body = {0};
        cleanup_buffer struct buffer expected = {0};
        buffer_append_format(&body, "--XBOUND\r\n" FILE_HEADER "\r\n\r\n%s\r\n" END, contents[i]);
        buffer_append_format(&expected, "[file|a.txt]%s;", contents[i]);
        check(TYPE, body.data, expected.data);
    }
}

static void test_padding_behind_a_boundary(void **state) {
    (void)state;
    check(TYPE, "--XBOUND \t\r\n" FILE_HEADER "\r\n\r\nx\r\n--XBOUND--  ", "[file|a.txt]x;");
}

static void test_the_forms_of_a_header(void **state) {
    (void)state;
    static const struct {
        const char *header, *expected;
    } cases[] = {
        {"content-disposition:form-data;name=file;filename=b", "[file|b]x;"},
        {"X: y\r\nContent-Disposition: form-data; filename=\"\"; name=\"file\"", "[file|]x;"},
        {"Content-Disposition: form-data; name=\"fi;le\"; filename=\"a \\\"b\\\".txt\"", "[fi;le|a \"b\".txt]x;"},
        {"Content-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\b.txt\"", "[file|C:\\dir\\b.txt]x;"},
        {"Content-Disposition: form-data; name=\"file\"; filename=\"fallback\"; filename*=UTF-8''%e6%96%87.txt",
         "[file|\xE6\x96\x87.txt]x;"},
        {"Content-Disposition: form-data; name=\"file\"; filename=\"plain\"; filename*=UTF-16''x", "[file|plain]x;"},
        {"Content-Disposition: form-data; name=\"file\"; filename=\"plain\"; filename*=UTF-8''%00x", "[file|plain]x;"},
        {"Content-Disposition: form-data; xname=1; name=\"n\"", "[n|-]x;"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_buffer struct buffer body = {0};
        buffer_append_format(&body, "--XBOUND\r\n%s\r\n\r\nx\r\n" END, cases[i].header);
        check(TYPE, body.data, cases[i].expected);
    }
}

static void refuse(const char *body, size_t length) {
    for (size_t cut = 0; cut <= length && cut < 200; cut++) {
        cleanup_buffer struct buffer seen = {0};
        assert_false(parse(TYPE, body, length, cut, cut, &seen));
    }
}

static void test_malformed_bodies_are_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",
        "no boundary at all",
        "--XBOUND\r\n" FILE_HEADER "\r\n\r\nnever ended",
        "--XBOUND\r\n" FILE_HEADER "\r\n",
        "--XBOUND\r\n\r\nno header\r\n" END,
        "--XBOUND\r\nContent-Type: text/plain\r\n\r\nno disposition\r\n" END,
        "--XBOUND\r\nContent-Disposition: form-data; name=\"open\r\n\r\nx\r\n" END,
        "--XBOUNDx\r\n" FILE_HEADER "\r\n\r\nx\r\n" END,
        "--XBOUND\n" FILE_HEADER "\n\nx\n--XBOUND--\n",
        "--XBOUND-x",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        refuse(bodies[i], strlen(bodies[i]));
    }
    static const char nul[] =
        "--XBOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\0b\"\r\n\r\nx\r\n" END;
    refuse(nul, sizeof(nul) - 1);
}

static void test_an_endless_header_is_refused(void **state) {
    (void)state;
    cleanup_buffer struct buffer body = {0};
    buffer_append_string(&body, "--XBOUND\r\nX: ");
    for (int i = 0; i < 2000; i++) {
        buffer_append_string(&body, "padding ");
    }
    cleanup_buffer struct buffer seen = {0};
    assert_false(parse(TYPE, body.data, body.length, 0, 0, &seen));
}

static void test_content_types(void **state) {
    (void)state;
    static const struct {
        const char *type;
        enum error_code code;
    } cases[] = {
        {NULL, ERROR_UNPROCESSABLE},
        {"application/json", ERROR_UNPROCESSABLE},
        {"multipart/form-datax; boundary=x", ERROR_UNPROCESSABLE},
        {"multipart/form-data", ERROR_INVALID},
        {"multipart/form-data; boundary=", ERROR_INVALID},
        {"multipart/form-data; boundary=\"x", ERROR_INVALID},
        {"multipart/form-data; boundary=\"a\x01\"", ERROR_INVALID},
        {"multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
         ERROR_INVALID},
        {"multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890",
         ERROR_NONE},
        {"Multipart/Form-Data;charset=utf-8 ; Boundary=\"a b\"", ERROR_NONE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        struct multipart_parser *parser = multipart_new(cases[i].type, &notes, NULL, &err);
        assert_int_equal(parser == NULL ? err.code : ERROR_NONE, cases[i].code);
        multipart_free(parser);
    }
}

static bool refuse_data(void *state, const char *bytes, size_t length, struct error *err) {
    (void)state, (void)bytes, (void)length;
    return error_set(err, ERROR_FORBIDDEN, "no");
}

static void test_what_an_event_refuses_ends_the_parse(void **state) {
    (void)state;
    static const struct multipart_events refusing = {note_begin, refuse_data, note_end};
    cleanup_buffer struct buffer seen = {0};
    struct error err = {0};
    struct multipart_parser *parser = multipart_new(TYPE, &refusing, &seen, &err);
    static const char body[] = PART(FILE_HEADER, "x") END;
    assert_false(multipart_feed(parser, body, sizeof(body) - 1, &err));
    assert_int_equal(err.code, ERROR_FORBIDDEN);
    assert_false(multipart_feed(parser, body, sizeof(body) - 1, &err));
    assert_false(multipart_finish(parser, &err));
    multipart_free(parser);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_several_parts_a_preamble_and_an_epilogue),
        cmocka_unit_test(test_content_that_looks_like_the_boundary),
        cmocka_unit_test(test_padding_behind_a_boundary),
        cmocka_unit_test(test_the_forms_of_a_header),
        cmocka_unit_test(test_malformed_bodies_are_refused),
        cmocka_unit_test(test_an_endless_header_is_refused),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_what_an_event_refuses_ends_the_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
