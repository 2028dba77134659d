/* PostgreSQL when it does not cooperate: connections that break, servers that say nothing, transactions that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/postgres_link.h"
#include "tests/unit/provisioner/temporary_folder.h"
#include "tests/unit/provisioner/test_database.h"

static char folder[64];
static char url[TEST_DATABASE_URL_SIZE];

static int make(void **state) {
    struct error err = {0};
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    temporary_folder_make(folder);
    test_database_make(folder, url);
    struct database *database = database_open(url, NULL, DATABASE_SHARED, &err);
    must(database != NULL, &err);
    must(database_execute(database, "CREATE TABLE things (id BIGINT PRIMARY KEY, text TEXT, bytes BYTEA)", &err), &err);
    *state = database;
    return 0;
}

static int remove_it(void **state) {
    database_close(*state);
    test_database_remove(url);
    temporary_folder_remove(folder);
    return 0;
}

/* The only column of the only row. */
static int64_t ask(struct database *database, const char *sql) {
    struct error err = {0};
    struct database_statement *statement = database_prepare(database, sql, &err);
    must(statement != NULL && database_step(statement, &err) == 1, &err);
    int64_t value = database_int(statement, 0);
    database_statement_free(statement);
    return value;
}

static bool insert(struct database *database, int64_t id, struct error *err) {
    struct database_statement *statement = database_prepare(database, "INSERT INTO things (id) VALUES ($1)", err);
    bool ok = statement != NULL && database_bind_int(statement, 1, id, err) && database_run(statement, err);
    database_statement_free(statement);
    return ok;
}

/* Somebody restarts the server, or a firewall forgets us. */
static void cut_off(struct database *database) {
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 5000)", (int)ask(database, "SELECT pg_backend_pid()"));
    test_database_sql(test_database_server(), sql);
}

static void test_what_is_written_is_read(void **state) {
    struct database *database = *state;
    struct error err = {0};
    static const struct {
        int64_t id;
        const char *text;
        const char *bytes;
        size_t length;
    } rows[] = {
        {INT64_MIN, NULL, NULL, 0},
        {0, "", "", 0},
        {7, "Zo\xc3\xab'; DROP TABLE things; -- $1", "a\0b\xff\\x41", 8},
        {INT64_MAX, "x", "y", 1},
    };
    struct database_statement *in = database_prepare(database, "INSERT INTO things VALUES ($1, $2, $3)", &err);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        database_clear(in);
        must(database_bind_int(in, 1, rows[i].id, &err) && database_bind_text(in, 2, rows[i].text, &err) &&
                 database_bind_blob(in, 3, rows[i].bytes, rows[i].length, &err) && database_run(in, &err),
             &err);
        assert_int_equal(database_changes(in), 1);
    }
    struct database_statement *out = database_prepare(database, "SELECT * FROM things ORDER BY id", &err);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t length = 99;
        assert_int_equal(database_step(out, &err), 1);
        assert_int_equal(database_int(out, 0), rows[i].id);
        assert_int_equal(database_text(out, 1) == NULL, rows[i].text == NULL);
        assert_string_equal(rows[i].text == NULL ? "" : database_text(out, 1),
                            rows[i].text == NULL ? "" : rows[i].text);
        const void *bytes = database_blob(out, 2, &length);
        assert_int_equal(length, rows[i].length);
        assert_int_equal(bytes == NULL, rows[i].bytes == NULL);
        assert_int_equal(memcmp(length == 0 ? "" : bytes, length == 0 ? "" : rows[i].bytes, length), 0);
    }
    assert_int_equal(database_step(out, &err), 0);
    database_statement_free(in);
    database_statement_free(out);
}

static void test_a_connection_that_broke_is_made_anew_unnoticed(void **state) {
    struct error err = {0};
    cut_off(*state);
    must(insert(*state, 1, &err), &err);
    cut_off(*state);
    must(database_begin(*state, TRANSACTION_ORDINARY, &err) && insert(*state, 2, &err) && database_commit(*state, &err),
         &err);
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 2);
}

static void test_a_transaction_whose_connection_broke_has_not_happened(void **state) {
    struct error err = {0};
    must(database_begin(*state, TRANSACTION_ORDINARY, &err) && insert(*state, 1, &err), &err);
    cut_off(*state);
    insert(*state, 2, &err); /* may be told to have worked, which is no promise */
    assert_false(database_commit(*state, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 0);
}

static void test_one_bad_statement_undoes_all_of_a_transaction(void **state) {
    struct error err = {0};
    must(insert(*state, 7, &err), &err);
    must(database_begin(*state, TRANSACTION_ORDINARY, &err), &err);
    bool ok = insert(*state, 6, &err) && insert(*state, 7, &err) && insert(*state, 8, &err);
    assert_false(ok ? database_commit(*state, &err) : (database_rollback(*state), false));
    assert_int_equal(err.code, ERROR_INTERNAL);
    assert_non_null(strstr(err.message, "duplicate key"));
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 1);
    must(insert(*state, 9, &err), &err);
}

static void test_a_transaction_reads_what_it_wrote(void **state) {
    struct error err = {0};
    must(database_begin(*state, TRANSACTION_ORDINARY, &err) && insert(*state, 1, &err), &err);
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 1);
    must(insert(*state, 2, &err), &err);
    database_rollback(*state);
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 0);
}

static void test_a_transaction_may_be_long(void **state) {
    struct error err = {0};
    must(database_begin(*state, TRANSACTION_ORDINARY, &err), &err);
    for (int i = 0; i < 3001; i++) {
        must(insert(*state, i, &err), &err);
    }
    must(database_commit(*state, &err), &err);
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 3001);
}

static void test_what_somebody_else_keeps_locked_is_capacity(void **state) {
    struct error err = {0};
    must(insert(*state, 1, &err), &err);
    must(database_execute(*state, "SET lock_timeout = '20ms'", &err), &err);
    struct database *other = database_open(url, NULL, DATABASE_SHARED, &err);
    must(database_begin(other, TRANSACTION_ORDINARY, &err) &&
             database_execute(other, "LOCK TABLE things IN EXCLUSIVE MODE", &err),
         &err);
    assert_false(insert(*state, 2, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_non_null(strstr(err.message, "locked"));
    database_close(other);
    must(insert(*state, 2, &err), &err);
}

static int listen_somewhere(int backlog, char address[64]) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(backlog < 0 ? 0 : listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&place, &size), 0);
    snprintf(address, 64, "127.0.0.1:%d", ntohs(place.sin_port));
    return fd;
}

static void test_a_server_that_says_nothing_is_not_waited_for(void **state) {
    (void)state;
    struct error err = {0};
    struct postgres_link link;
    char address[64], silent[128];
    int listener = listen_somewhere(5, address);
    snprintf(silent, sizeof silent, "postgresql://ann:secret@%s/x", address);
    must(postgres_link_init(&link, silent, NULL, &err), &err);
    int64_t began_ms = clock_monotonic_ms();
    for (int i = 0; i < 4; i++) {
        assert_false(postgres_link_connect(&link, 10, &err));
        assert_int_equal(err.code, ERROR_CAPACITY);
        assert_non_null(strstr(err.message, "away"));
        assert_null(strstr(err.message, "secret"));
    }
    assert_true(clock_monotonic_ms() - began_ms < 5000);
    postgres_link_free(&link);
    close(listener);
}

static void test_a_server_that_is_away_is_asked_now_and_then(void **state) {
    (void)state;
    struct error err = {0};
    struct postgres_link link;
    char address[64], nobody[128];
    int placeholder = listen_somewhere(-1, address); /* nobody listens, and nobody else can either */
    snprintf(nobody, sizeof nobody, "postgres+asyncpg://ann@%s/x", address);
    must(postgres_link_init(&link, nobody, "secret", &err), &err);
    assert_false(postgres_link_connect(&link, 1000, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_non_null(strstr(err.message, address));
    assert_null(strstr(err.message, "secret"));
    struct error again = {0};
    assert_false(postgres_link_connect(&link, 1000, &again));
    assert_string_equal(again.message, err.message);
    assert_null(link.connection);
    postgres_link_free(&link);
    close(placeholder);
}

static void test_a_server_that_refuses_us_is_not_waited_for_at_the_start(void **state) {
    (void)state;
    struct error err = {0};
    char unknown[TEST_DATABASE_URL_SIZE + 32];
    snprintf(unknown, sizeof unknown, "%s&dbname=no_such_database", test_database_server());
    assert_null(database_open(unknown, "secret", DATABASE_SHARED, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_non_null(strstr(err.message, "no_such_database"));
    assert_null(strstr(err.message, "secret"));
}

static void test_a_database_has_one_owner_at_a_time(void **state) {
    struct error err = {0};
    struct postgres_link late;
    struct database *owner = database_open(url, NULL, DATABASE_OWNED, &err);
    must(owner != NULL, &err);
    must(postgres_link_init(&late, url, NULL, &err), &err);
    late.wants_lock = true;
    assert_false(postgres_link_connect(&late, 10000, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_non_null(strstr(err.message, "another provisioner uses it"));
    /* An owner whose connection broke, and who finds somebody else in its place, changes nothing any more. */
    cut_off(owner);
    must(postgres_link_connect_patiently(&late, 10000, &err), &err);
    assert_false(insert(owner, 1, &err));
    assert_non_null(strstr(err.message, "another provisioner uses it"));
    postgres_link_free(&late);
    database_close(owner);
    assert_int_equal(ask(*state, "SELECT count(*) FROM things"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_written_is_read, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_connection_that_broke_is_made_anew_unnoticed, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_transaction_whose_connection_broke_has_not_happened, make, remove_it),
        cmocka_unit_test_setup_teardown(test_one_bad_statement_undoes_all_of_a_transaction, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_transaction_reads_what_it_wrote, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_transaction_may_be_long, make, remove_it),
        cmocka_unit_test_setup_teardown(test_what_somebody_else_keeps_locked_is_capacity, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_database_has_one_owner_at_a_time, make, remove_it),
        cmocka_unit_test(test_a_server_that_says_nothing_is_not_waited_for),
        cmocka_unit_test(test_a_server_that_is_away_is_asked_now_and_then),
        cmocka_unit_test(test_a_server_that_refuses_us_is_not_waited_for_at_the_start),
    };
    return test_database_is_postgres() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
