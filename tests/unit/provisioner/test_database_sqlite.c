/* SQLite where nothing may be written but beside the database: a container with a read-only root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "provisioner/database.h"
#include "tests/unit/provisioner/temporary_folder.h"

static void must(bool ok, const struct error *err) {
    if (!ok) {
        fail_msg("%s", err->message);
    }
}

/* How many files of this folder that have no name any more we have open. */
static int unlinked_files(const char *folder) {
    DIR *descriptors = opendir("/proc/self/fd");
    assert_non_null(descriptors);
    int count = 0;
    struct dirent *entry = NULL;
    while ((entry = readdir(descriptors)) != NULL) {
        char link[300];
        char target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        count += strncmp(target, folder, strlen(folder)) == 0 && strstr(target, " (deleted)") != NULL;
    }
    closedir(descriptors);
    return count;
}

static void test_what_outgrows_the_cache_is_written_beside_the_database(void **state) {
    (void)state;
    struct error err = {0};
    char folder[64];
    char url[128];
    temporary_folder_make(folder);
    snprintf(url, sizeof url, "sqlite:///%s/terminals.db", folder);
    struct database *database = database_open(url, NULL, DATABASE_SHARED, &err);
    must(database != NULL, &err);
    must(database_execute(database,
                          "CREATE TABLE t (a INTEGER, b TEXT);"
                          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
                          "INSERT INTO t SELECT i * 7919 % 50021, printf('%0200d', i) FROM n;",
                          &err),
         &err);
    struct database_statement *sorted = database_prepare(database, "SELECT a, b FROM t ORDER BY a", &err);
    must(sorted != NULL && database_step(sorted, &err) == 1, &err);
    assert_true(unlinked_files(folder) > 0);
    database_statement_free(sorted);
    assert_int_equal(unlinked_files(folder), 0);
    database_close(database);
    temporary_folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_outgrows_the_cache_is_written_beside_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
