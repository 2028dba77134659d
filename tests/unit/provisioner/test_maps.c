/* What HAProxy answers for a key must be what the provisioner last said, whatever happens to either of them. */
#include "haproxy_world.h"

#include "provisioner/maps.h"

struct map_world {
    struct haproxy_world haproxy;
    struct map *map;
    bool flushed;
};

static void open_world(struct map_world *world, bool with_haproxy) {
    memset(world, 0, sizeof *world);
    haproxy_world_open(&world->haproxy);
    world->map = map_open(world->haproxy.map_path, world->haproxy.runtime);
    assert_non_null(world->map);
    if (with_haproxy) {
        haproxy_world_start_haproxy(&world->haproxy);
        haproxy_world_await_up(&world->haproxy);
    }
    assert_true(map_replace_all(world->map, NULL, 0, NULL));
}

static void close_world(struct map_world *world) {
    haproxy_runtime_close(world->haproxy.runtime); /* before the map, which it may call */
    world->haproxy.runtime = NULL;
    map_close(world->map);
    haproxy_world_close(&world->haproxy);
}

/* The lines of an answer of `show map`, without the addresses, sorted by HAProxy's own order. */
static char *haproxy_content(const struct map_world *world) {
    char command[256] = "show map ";
    char *out = command + strlen(command);
    for (const char *at = world->haproxy.map_path; *at != '\0'; at++) {
        if (*at == ' ' || *at == ';') {
            *out++ = '\\';
        }
        *out++ = *at;
    }
    strcpy(out, "\n");
    return haproxy_world_ask(world->haproxy.socket_path, command);
}

/* Byte by byte: AddressSanitizer makes strstr() and strtok() quadratic. */
static size_t count_lines(const char *text) {
    size_t lines = 0;
    for (const char *at = text; *at != '\0'; at++) {
        lines += at[0] == '0' && at[1] == 'x' && (at == text || at[-1] == '\n');
    }
    return lines;
}

/* How HAProxy stands to the map: the same number of entries, and each of them with its value. */
static bool is_consistent(void *argument) {
    const struct map_world *world = argument;
    char *content = haproxy_content(world);
    bool same = content != NULL && count_lines(content) == map_count(world->map);
    for (char *line = content; same && line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        char *key = strchr(line, ' ');
        char *value = key == NULL ? NULL : strchr(key + 1, ' ');
        if (value != NULL) {
            *value = '\0';
            const char *wanted = map_get(world->map, key + 1);
            same = wanted != NULL && strcmp(wanted, value + 1) == 0;
        }
        line = end;
    }
    free(content);
    return same;
}

static int64_t await_consistent(struct map_world *world) {
    return haproxy_world_await(&world->haproxy, is_consistent, world);
}

static void on_flushed(void *argument) {
    ((struct map_world *)argument)->flushed = true;
}

static bool is_flushed(void *argument) {
    return ((struct map_world *)argument)->flushed;
}

static void put(struct map_world *world, const char *key, const char *value) {
    struct error err;
    if (!map_put(world->map, key, value, &err)) {
        fail_msg("put %s: %s", key, err.message);
    }
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *content = calloc(1, 8 * 1024 * 1024);
    size_t length = fread(content, 1, 8 * 1024 * 1024 - 1, file);
    content[length] = '\0';
    fclose(file);
    return content;
}

/* Restarts HAProxy alone, with nobody to push anything, and compares what it read with the map. */
static void assert_file_is_right(struct map_world *world) {
    haproxy_world_kill_haproxy(&world->haproxy);
    unlink(world->haproxy.socket_path);
    haproxy_world_start_haproxy(&world->haproxy);
    for (int i = 0; i < 500; i++) {
        char *content = haproxy_content(world);
        if (content != NULL) {
            free(content);
            break;
        }
        usleep(10000); /* the loop must not run here: it would push */
    }
    assert_true(is_consistent(world));
}

static void test_an_entry_reaches_haproxy_and_its_file(void **state) {
    (void)state;
    struct map_world world;
    open_world(&world, true);
    put(&world, "AA", "127.0.0.1|9000|key|id");
    put(&world, "BB", "127.0.0.1|9001|key|id");
    assert_string_equal(map_get(world.map, "AA"), "127.0.0.1|9000|key|id");
    await_consistent(&world);
    char *file = read_file(world.haproxy.map_path);
    assert_string_equal(file, "AA 127.0.0.1|9000|key|id\nBB 127.0.0.1|9001|key|id\n");
    free(file);
    close_world(&world);
}

static void test_a_changed_value_is_never_the_old_one_again(void **state) {
    (void)state;
    struct map_world world;
    open_world(&world, true);
    put(&world, "AA", "old");
    await_consistent(&world);
    put(&world, "AA", "new");
    await_consistent(&world);
    put(&world, "AA", "newer");
    put(&world, "AA", "newest");
    map_remove(world.map, "AA");
    put(&world, "AA", "back");
    await_consistent(&world);
    assert_int_equal(map_count(world.map), 1);
    assert_file_is_right(&world);
    close_world(&world);
}

static void test_a_map_is_changed_to_what_it_is_to_be(void **state) {
    (void)state;
    struct map_world world;
    struct error err = {0};
    open_world(&world, true);
    put(&world, "STAYS", "same");
    put(&world, "CHANGES", "old");
    put(&world, "GOES", "away");
    await_consistent(&world);
    const struct map_entry entries[] = {{"NEW", "here"}, {"CHANGES", "new"}, {"STAYS", "same"}};
    assert_true(map_change_to(world.map, entries, 3, &err));
    await_consistent(&world);
    assert_int_equal(map_count(world.map), 3);
    assert_null(map_get(world.map, "GOES"));
    assert_string_equal(map_get(world.map, "CHANGES"), "new");
    assert_file_is_right(&world);
    assert_true(map_change_to(world.map, NULL, 0, &err));
    await_consistent(&world);
    assert_int_equal(map_count(world.map), 0);
    assert_file_is_right(&world);
    close_world(&world);
}

static void test_a_removed_entry_is_gone_after_flush(void **state) {
    (void)state;
    struct map_world world;
    open_world(&world, true);
    char key[16];
    for (int i = 0; i < 150; i++) {
        snprintf(key, sizeof key, "K%d", i);
        put(&world, key, "value");
    }
    await_consistent(&world);
    for (int i = 0; i < 149; i++) {
        snprintf(key, sizeof key, "K%d", i);
        map_remove(world.map, key);
    }
    map_flush(world.map, on_flushed, &world);
    assert_false(world.flushed);
    haproxy_world_await(&world.haproxy, is_flushed, &world);
    assert_true(is_consistent(&world));
    assert_null(map_get(world.map, "K0"));
    assert_int_equal(map_count(world.map), 1);
    assert_file_is_right(&world);
    close_world(&world);
}

static void test_flush_with_nothing_to_do_or_no_haproxy_calls_at_once(void **state) {
    (void)state;
    struct map_world world;
    open_world(&world, false);
    put(&world, "AA", "1");
    map_remove(world.map, "AA");
    map_flush(world.map, on_flushed, &world);
    assert_true(world.flushed);
    close_world(&world);
    open_world(&world, true);
    await_consistent(&world);
    put(&world, "AA", "1");
    await_consistent(&world);
    haproxy_world_await(&world.haproxy, is_consistent, &world);
    close_world(&world);
}

static void test_odd_values_mean_the_same_from_file_and_socket(void **state) {
    (void)state;
    static const char *const values[] = {
        "*",    "a|b\\c;d\"e <<x #y", "<<",      "'", "\\", "#", "ü€\xf0\x9f\x98\x80", "@1 x", "% [{}]",
        "a  b", "user@example.org",   "\x01\x7f"};
    struct map_world world;
    char key[16];
    open_world(&world, true);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        snprintf(key, sizeof key, "K%zu", i);
        put(&world, key, values[i]);
    }
    await_consistent(&world);
    assert_file_is_right(&world);
    haproxy_world_await_up(&world.haproxy);
    await_consistent(&world); /* and as a whole version */
    close_world(&world);
}

static void test_entries_that_could_be_misread_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *key;
        const char *value;
    } bad[] = {{"", "x"},   {"A B", "x"}, {"#A", "x"},  {"A;B", "x"},  {"A\nB", "x"}, {"A", ""},
               {"A", " x"}, {"A", "x "},  {"A", "\tx"}, {"A", "x\ny"}, {"A", "x\r"},  {"A\\", "x"}};
    struct map_world world;
    open_world(&world, false);
    put(&world, "A", "good");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err;
        assert_false(map_put(world.map, bad[i].key, bad[i].value, &err));
        assert_int_equal(err.code, ERROR_INVALID);
    }
    assert_null(map_get(world.map, "A")); /* a value that cannot be said is not the former one */
    char *huge = malloc(20001);
    memset(huge, 'x', 20000);
    huge[20000] = '\0';
    struct error err;
    assert_false(map_put(world.map, "A", huge, &err));
    assert_int_equal(err.code, ERROR_TOO_LARGE);
    free(huge);
    assert_int_equal(map_count(world.map), 0);
    close_world(&world);
}

static void test_an_unwritable_file_leaves_the_entry_out(void **state) {
    (void)state;
    struct map_world world;
    struct error err;
    char moved[192];
    open_world(&world, false);
    put(&world, "AA", "1");
    snprintf(moved, sizeof moved, "%s.away", world.haproxy.folder);
    assert_int_equal(rename(world.haproxy.folder, moved), 0);
    char file[256];
    snprintf(file, sizeof file, "%s/routes.map", moved);
    unlink(file);
    assert_false(map_put(world.map, "BB", "2", &err));
    assert_int_equal(err.code, ERROR_INTERNAL);
    assert_null(map_get(world.map, "BB"));
    assert_string_equal(map_get(world.map, "AA"), "1");
    assert_int_equal(rename(moved, world.haproxy.folder), 0);
    put(&world, "BB", "2"); /* the folder is back: the file is made anew, whole */
    char *content = read_file(world.haproxy.map_path);
    assert_string_equal(content, "AA 1\nBB 2\n");
    free(content);
    close_world(&world);
}

static void test_nothing_is_pushed_before_the_map_is_loaded(void **state) {
    (void)state;
    struct map_world world = {0};
    haproxy_world_open(&world.haproxy);
    FILE *file = fopen(world.haproxy.map_path, "w");
    fputs("OLD route\n", file);
    fclose(file);
    world.map = map_open(world.haproxy.map_path, world.haproxy.runtime);
    haproxy_world_start_haproxy(&world.haproxy);
    haproxy_world_await_up(&world.haproxy);
    put(&world, "NEW", "1");
    for (int i = 0; i < 20; i++) {
        event_base_loop(world.haproxy.base, EVLOOP_NONBLOCK);
    }
    char *content = haproxy_content(&world);
    assert_non_null(strstr(content, "OLD route"));
    free(content);
    const struct map_entry entries[] = {{"NEW", "2"}, {"NEW", "3"}, {"OTHER", "4"}};
    assert_true(map_replace_all(world.map, entries, 3, NULL));
    await_consistent(&world);
    assert_string_equal(map_get(world.map, "NEW"), "2");
    assert_file_is_right(&world);
    close_world(&world);
}

static struct map_entry *many_entries(size_t count) {
    struct map_entry *entries = calloc(count, sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        char *key = malloc(65);
        char *value = malloc(128);
        snprintf(key, 65, "%064zX", i * 2654435761U);
        snprintf(value, 128, "127.0.0.1|%zu|%064zx|%032zx", 9000 + i, i, i);
        entries[i] = (struct map_entry){key, value};
    }
    return entries;
}

static void free_entries(struct map_entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free((char *)entries[i].key);
        free((char *)entries[i].value);
    }
    free(entries);
}

static void test_ten_thousand_entries_survive_restart_reload_and_kill_in_a_push(void **state) {
    (void)state;
    struct map_world world;
    open_world(&world, true);
    await_consistent(&world);
    enum { COUNT = 10000 };
    struct map_entry *entries = many_entries(COUNT);
    int64_t started = clock_monotonic_ms();
    assert_true(map_replace_all(world.map, entries, COUNT, NULL));
    int64_t written = clock_monotonic_ms();
    map_flush(world.map, on_flushed, &world);
    haproxy_world_await(&world.haproxy, is_flushed, &world);
    print_message("10,000 entries: file %lld ms, pushed %lld ms later\n", (long long)(written - started),
                  (long long)(clock_monotonic_ms() - written));
    assert_true(is_consistent(&world));

    haproxy_world_kill_haproxy(&world.haproxy); /* restart, with changes while it is away */
    put(&world, "AWAY", "1");
    map_remove(world.map, entries[7].key);
    haproxy_world_start_haproxy(&world.haproxy);
    print_message("right again %lld ms after a restart\n", (long long)await_consistent(&world));

    haproxy_world_reload(&world.haproxy); /* reload, with changes that the new worker may not hear of */
    for (int i = 0; i < 50; i++) {
        char key[32];
        snprintf(key, sizeof key, "RELOAD%d", i);
        put(&world, key, "1");
        map_remove(world.map, entries[100 + i].key);
        event_base_loop(world.haproxy.base, EVLOOP_NONBLOCK);
        usleep(2000);
    }
    print_message("right again %lld ms after a reload\n", (long long)await_consistent(&world));

    map_replace_all(world.map, entries, COUNT, NULL); /* kill -9 in the middle of a push */
    for (int i = 0; i < 30; i++) {
        event_base_loop(world.haproxy.base, EVLOOP_ONCE);
    }
    haproxy_world_kill_haproxy(&world.haproxy);
    map_remove(world.map, entries[3].key);
    haproxy_world_start_haproxy(&world.haproxy);
    print_message("right again %lld ms after a kill in a push\n", (long long)await_consistent(&world));
    assert_int_equal(map_count(world.map), COUNT - 1);

    for (size_t i = 0; i < COUNT; i += 2) { /* so many deletions that a whole version is cheaper */
        map_remove(world.map, entries[i].key);
    }
    await_consistent(&world);
    assert_file_is_right(&world);
    free_entries(entries, COUNT);
    close_world(&world);
}

static bool is_down(void *argument) {
    return !haproxy_world_is_up(argument);
}

static void test_a_stopped_haproxy_makes_nothing_wait_for_ever(void **state) {
    (void)state;
    struct map_world world;
    char key[16];
    open_world(&world, true);
    put(&world, "AA", "1");
    await_consistent(&world);
    kill(-world.haproxy.master, SIGSTOP);
    map_remove(world.map, "AA");
    map_flush(world.map, on_flushed, &world);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "K%d", i);
        put(&world, key, "1");
        if (i % 2 == 0) {
            map_remove(world.map, key);
        }
        event_base_loop(world.haproxy.base, EVLOOP_NONBLOCK);
    }
    haproxy_world_await(&world.haproxy, is_down, &world.haproxy);
    assert_true(world.flushed);
    kill(-world.haproxy.master, SIGCONT);
    haproxy_world_await_up(&world.haproxy);
    await_consistent(&world);
    assert_int_equal(map_count(world.map), 500);
    close_world(&world);
}

static bool is_in_haproxy(void *argument) {
    struct map_world *world = argument;
    char *content = haproxy_content(world);
    bool there = content != NULL && strstr(content, "LATENCY") != NULL;
    free(content);
    return there;
}

static void test_how_long_an_entry_takes(void **state) {
    (void)state;
    struct map_world world;
    open_world(&world, true);
    await_consistent(&world);
    struct timespec start;
    struct timespec end;
    int64_t sum = 0;
    enum { ROUNDS = 50 };
    for (int i = 0; i < ROUNDS; i++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        put(&world, "LATENCY", "1");
        haproxy_world_await(&world.haproxy, is_in_haproxy, &world);
        clock_gettime(CLOCK_MONOTONIC, &end);
        sum += (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000;
        map_remove(world.map, "LATENCY");
        world.flushed = false;
        map_flush(world.map, on_flushed, &world);
        haproxy_world_await(&world.haproxy, is_flushed, &world);
    }
    print_message("map_put until HAProxy shows it: %lld us on average, asking included\n", (long long)(sum / ROUNDS));
    close_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_reaches_haproxy_and_its_file),
        cmocka_unit_test(test_a_changed_value_is_never_the_old_one_again),
        cmocka_unit_test(test_a_map_is_changed_to_what_it_is_to_be),
        cmocka_unit_test(test_a_removed_entry_is_gone_after_flush),
        cmocka_unit_test(test_flush_with_nothing_to_do_or_no_haproxy_calls_at_once),
        cmocka_unit_test(test_odd_values_mean_the_same_from_file_and_socket),
        cmocka_unit_test(test_entries_that_could_be_misread_are_refused),
        cmocka_unit_test(test_an_unwritable_file_leaves_the_entry_out),
        cmocka_unit_test(test_nothing_is_pushed_before_the_map_is_loaded),
        cmocka_unit_test(test_ten_thousand_entries_survive_restart_reload_and_kill_in_a_push),
        cmocka_unit_test(test_a_stopped_haproxy_makes_nothing_wait_for_ever),
        cmocka_unit_test(test_how_long_an_entry_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
