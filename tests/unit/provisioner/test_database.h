/* test_database.h - a database of its own for each test: a file in the test's folder or, where TERMINALS_TEST_POSTGRES
 * names a server, a schema there. tests/run.py runs what includes this on both. */
#ifndef TERMINALS_TESTS_TEST_DATABASE_H
#define TERMINALS_TESTS_TEST_DATABASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "provisioner/database.h"

#define TEST_DATABASE_URL_SIZE 512

static inline const char *test_database_server(void) {
    return getenv("TERMINALS_TEST_POSTGRES");
}

static inline bool test_database_is_postgres(void) {
    return test_database_server() != NULL;
}

static inline void test_database_sql(const char *url, const char *sql) {
    struct error err = {0};
    struct database *database = database_open(url, NULL, DATABASE_SHARED, &err);
    if (database == NULL || !database_execute(database, sql, &err)) {
        fail_msg("%s: %s", sql, err.message);
    }
    database_close(database);
}

static inline void must(bool ok, const struct error *err) {
    if (!ok) {
        fail_msg("%s", err->message);
    }
}

/* Writes the URL of a new database; that of a file is in `folder`. */
static inline void test_database_make(const char *folder, char url[TEST_DATABASE_URL_SIZE]) {
    static int count;
    char sql[128];
    if (!test_database_is_postgres()) {
        snprintf(url, TEST_DATABASE_URL_SIZE, "sqlite:///%s/db/terminals.db", folder);
        return;
    }
    snprintf(sql, sizeof sql, "CREATE SCHEMA test_%d_%d", (int)getpid(), ++count);
    test_database_sql(test_database_server(), sql);
    snprintf(url, TEST_DATABASE_URL_SIZE, "%s&options=-csearch_path%%3Dtest_%d_%d", test_database_server(),
             (int)getpid(), count);
}

static inline const char *test_database_schema(const char *url) {
    const char *schema = strstr(url, "search_path%3D");
    return schema == NULL ? NULL : schema + strlen("search_path%3D");
}

static inline void test_database_remove(const char *url) {
    char sql[128];
    if (test_database_is_postgres()) {
        snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", test_database_schema(url));
        test_database_sql(test_database_server(), sql);
    }
}

/* PostgreSQL only: makes the schema of the one URL what that of the other is now. */
static inline void test_database_copy(const char *from_url, const char *to_url) {
    char sql[1024];
    const char *from = test_database_schema(from_url);
    const char *to = test_database_schema(to_url);
    snprintf(sql, sizeof sql,
             "DROP SCHEMA IF EXISTS %s CASCADE; CREATE SCHEMA %s;"
             "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '%s' LOOP "
             "EXECUTE format('CREATE TABLE %s.%%I (LIKE %s.%%I INCLUDING ALL)', name, name); "
             "EXECUTE format('INSERT INTO %s.%%I SELECT * FROM %s.%%I', name, name); END LOOP; END $$",
             to, to, from, to, from, to, from);
    test_database_sql(test_database_server(), sql);
}

/* From now on nothing can be written, or can again. */
static inline void test_database_set_full(struct database *database, bool is_full) {
    struct error err = {0};
    char sql[64];
    snprintf(sql, sizeof sql,
             test_database_is_postgres() ? "SET default_transaction_read_only = %d" : "PRAGMA query_only = %d",
             is_full);
    if (!database_execute(database, sql, &err)) {
        fail_msg("%s: %s", sql, err.message);
    }
}

#endif
