#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>

#include "instance/output_log.h"

#define MAX_BYTES (50 * 1024 * 1024)

static char folder[32];
static char path[64];

/* A log that is still in memory; its file's folder is missing. */
static int set_up_unsettled(void **state) {
    struct error err;
    strcpy(folder, "/tmp/output-log-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/logs/1.jsonl", folder);
    *state = output_log_new(path, MAX_BYTES, &err);
    return *state == NULL;
}

static int set_up(void **state) {
    if (set_up_unsettled(state) != 0) {
        return -1;
    }
    output_log_settle(*state);
    return access(path, F_OK);
}

static int tear_down(void **state) {
    output_log_free(*state);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    return rmdir(folder);
}

/* The entries from `first` on, as the inside of a JSON array. */
static char *read_from(struct output_log *log, uint64_t first) {
    static char text[1 << 16];
    off_t start;
    off_t end;
    assert_true(output_log_range(log, first, &start, &end));
    size_t used = 0;
    while (start < end) {
        ssize_t length = output_log_read(log, start, end, text + used, 100);
        assert_true(length > 0);
        start += length;
        used += (size_t)length;
    }
    text[used > 0 ? used - 1 : 0] = '\0';
    return text;
}

static void append(struct output_log *log, const char *text) {
    output_log_append(log, text, strlen(text));
}

#define ENTRY(data) "{\"type\":\"output\",\"data\":\"" data "\"}"

static void test_entries_come_back_from_any_offset(void **state) {
    struct output_log *log = *state;
    for (int i = 0; i < 1000; i++) {
        char line[16];
        append(log, (snprintf(line, sizeof line, "%d", i), line));
    }
    assert_int_equal(output_log_count(log), 1000);
    assert_string_equal(read_from(log, 998), ENTRY("998") "," ENTRY("999"));
    assert_memory_equal(read_from(log, 63), ENTRY("63"), strlen(ENTRY("63")));
    assert_memory_equal(read_from(log, 64), ENTRY("64"), strlen(ENTRY("64")));
    assert_string_equal(read_from(log, 1000), "");
    assert_string_equal(read_from(log, UINT64_MAX), "");
}

static void test_json_is_escaped(void **state) {
    append(*state, "a\"\\\r\n\x1b[0m");
    assert_string_equal(read_from(*state, 0), ENTRY("a\\\"\\\\\\r\\n\\u001b[0m"));
}

static void test_a_character_cut_in_two_is_put_together(void **state) {
    append(*state, "\xe6\x96");
    assert_int_equal(output_log_count(*state), 0);
    append(*state, "\x87.");
    assert_string_equal(read_from(*state, 0), ENTRY("\xe6\x96\x87."));
}

static void test_bytes_that_are_no_text_are_replaced(void **state) {
    append(*state, "\xff\xfex");
    append(*state, "\xe6");
    append(*state, "z");
    append(*state, "\xf0\x9f");
    output_log_finish(*state);
    assert_string_equal(read_from(*state, 0),
                        ENTRY("\xef\xbf\xbd\xef\xbf\xbdx") "," ENTRY("\xef\xbf\xbdz") "," ENTRY("\xef\xbf\xbd"));
}

static void test_a_full_log_says_so_and_stays_within_its_limit(void **state) {
    struct output_log *log = *state;
    char *block = malloc(1 << 20);
    memset(block, 'x', 1 << 20);
    for (int i = 0; i < 60; i++) {
        output_log_append(log, block, 1 << 20);
    }
    free(block);
    uint64_t count = output_log_count(log);
    assert_true(count < 60);
    assert_non_null(strstr(read_from(log, count - 1), "cut here"));
    int fd = open(path, O_RDONLY);
    assert_true(lseek(fd, 0, SEEK_END) <= MAX_BYTES);
    close(fd);
}

static off_t file_size(void) {
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

static void test_a_log_is_in_memory_until_it_is_settled_and_goes_on_in_its_file(void **state) {
    struct output_log *log = *state;
    append(log, "before");
    assert_string_equal(read_from(log, 0), ENTRY("before"));
    assert_int_equal(file_size(), -1);

    output_log_settle(log);
    assert_int_equal(file_size(), strlen(ENTRY("before")) + 1);
    append(log, "after");
    output_log_settle(log); /* nothing more to do */
    assert_string_equal(read_from(log, 0), ENTRY("before") "," ENTRY("after"));
    assert_int_equal(file_size(), strlen(ENTRY("before") ENTRY("after")) + 2);
}

static void test_a_long_log_does_not_wait_to_be_settled(void **state) {
    struct output_log *log = *state;
    char block[4096];
    memset(block, 'x', sizeof block);
    for (size_t length = 0; length < OUTPUT_LOG_UNSETTLED_MAX_BYTES; length += sizeof block) {
        output_log_append(log, block, sizeof block);
    }
    assert_true(file_size() > OUTPUT_LOG_UNSETTLED_MAX_BYTES);
}

static void test_a_log_is_never_written_over_another_file_and_stays_in_memory(void **state) {
    struct error err;
    append(*state, "the first");
    struct output_log *other = output_log_new(path, MAX_BYTES, &err);
    assert_non_null(other);
    append(other, "another");
    output_log_settle(other);
    assert_string_equal(read_from(other, 0), ENTRY("another"));
    assert_string_equal(read_from(*state, 0), ENTRY("the first"));
    assert_int_equal(file_size(), strlen(ENTRY("the first")) + 1);
    output_log_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_entries_come_back_from_any_offset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_is_escaped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_character_cut_in_two_is_put_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bytes_that_are_no_text_are_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_log_says_so_and_stays_within_its_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_log_is_in_memory_until_it_is_settled_and_goes_on_in_its_file,
                                        set_up_unsettled, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_log_does_not_wait_to_be_settled, set_up_unsettled, tear_down),
        cmocka_unit_test_setup_teardown(test_a_log_is_never_written_over_another_file_and_stays_in_memory, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
