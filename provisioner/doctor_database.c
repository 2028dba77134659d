/* doctor_database.c - is the database there, of our version, writable and whole? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/database.h"
#include "provisioner/doctor.h"
#include "provisioner/migrations.h"
#include "provisioner/vault.h"

#define OLDEST_POSTGRES     120000 /* as server_version_num has it */
#define SKEW_MAX_MS         2000
#define CONNECTIONS_PERCENT 90
#define OTHERS_MAY          0077

static const char restore[] = "`terminals restore` a backup (docs/operations.md)";

/* The path of an SQLite file; NULL: another database, or a URL that opening it will refuse. */
static const char *sqlite_path(const char *url) {
    const char *path = strncmp(url, "sqlite", strlen("sqlite")) == 0 ? strstr(url, ":///") : NULL;
    return path == NULL ? NULL : path + strlen(":///");
}

/* One number, and one text if `text` is given (the caller frees it). False with *err. */
static bool ask(struct database *database, const char *sql, int64_t *number, char **text, struct error *err) {
    struct database_statement *statement = database_prepare(database, sql, err);
    int stepped = statement == NULL ? -1 : database_step(statement, err);
    if (stepped == 1 && number != NULL) {
        *number = database_int(statement, 0);
    }
    if (stepped == 1 && text != NULL) {
        const char *value = database_text(statement, 0);
        *text = value == NULL ? NULL : strdup(value);
    }
    database_statement_free(statement);
    return stepped == 1 || (stepped == 0 && error_set(err, ERROR_INTERNAL, "the database gave no answer"));
}

static void check_version(struct database *database, struct findings *findings) {
    struct error err = {0};
    int version = migrations_current(database, &err);
    int newest = migrations_newest(migrations_known(database));
    if (version < 0) {
        findings_add(findings, "database", FINDING_FAIL, restore, "%s", err.message);
    } else if (version > newest) {
        findings_add(findings, "database", FINDING_FAIL,
                     "run the newer program again, or restore the backup that was made before the upgrade",
                     "at version %d, written by a newer program than this one (%d)", version, newest);
    } else {
        findings_add(findings, "database", FINDING_OK, NULL, "at version %d%s", version,
                     version < newest ? ": the next start brings it to ours" : "");
    }
}

/* Makes a table and takes it back: what a migration would do, and more than any other write. */
static void check_writing(struct database *database, struct findings *findings) {
    struct error err = {0};
    bool ok = database_begin(database, TRANSACTION_ORDINARY, &err);
    if (ok) {
        ok = database_execute(database, "CREATE TABLE terminals_doctor (number INTEGER)", &err);
        database_rollback(database);
    }
    findings_add(findings, "database", ok ? FINDING_OK : FINDING_FAIL,
                 ok ? NULL : "look at its rights, its disk, and at who else has it open", "%s",
                 ok ? "can be written" : err.message);
}

static void check_whole(struct database *database, struct findings *findings) {
    struct error err = {0};
    cleanup_free char *answer = NULL;
    if (!ask(database, "PRAGMA quick_check(1)", NULL, &answer, &err)) {
        findings_add(findings, "database", FINDING_FAIL, restore, "%s", err.message);
    } else if (answer == NULL || strcmp(answer, "ok") != 0) {
        findings_add(findings, "database", FINDING_FAIL, restore, "it is damaged: %s",
                     answer == NULL ? "it cannot be checked" : answer);
    } else {
        findings_add(findings, "database", FINDING_OK, NULL, "whole (quick_check)");
    }
}

/* --- PostgreSQL --------------------------------------------------------------------------------------------------- */

static void check_server(struct database *database, struct findings *findings) {
    struct error err = {0};
    int64_t version = 0;
    int64_t theirs_ms = 0;
    int64_t percent = 0;
    int64_t before_ms = clock_unix_ms();
    if (!ask(database, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT", &theirs_ms, NULL, &err)) {
        findings_add(findings, "database", FINDING_FAIL, NULL, "%s", err.message);
        return;
    }
    int64_t after_ms = clock_unix_ms();
    int64_t skew_ms = theirs_ms < before_ms ? before_ms - theirs_ms : theirs_ms > after_ms ? theirs_ms - after_ms : 0;
    findings_add(findings, "clock", skew_ms > SKEW_MAX_MS ? FINDING_WARN : FINDING_OK,
                 skew_ms > SKEW_MAX_MS ? "run NTP on both machines" : NULL, "%lld ms from PostgreSQL's",
                 (long long)skew_ms);
    if (ask(database, "SELECT current_setting('server_version_num')::BIGINT", &version, NULL, &err)) {
        bool is_old = version < OLDEST_POSTGRES;
        findings_add(findings, "database", is_old ? FINDING_WARN : FINDING_OK,
                     is_old ? "upgrade it: 15 is what the tests run on" : NULL, "PostgreSQL %lld.%lld",
                     (long long)(version / 10000), (long long)(version % 10000));
    }
    if (ask(database,
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') * 100 / "
            "current_setting('max_connections')::BIGINT",
            &percent, NULL, &err)) {
        bool is_full = percent >= CONNECTIONS_PERCENT;
        findings_add(findings, "database", is_full ? FINDING_WARN : FINDING_OK,
                     is_full ? "raise max_connections, or see who has them in pg_stat_activity" : NULL,
                     "%lld %% of the server's connections are taken", (long long)percent);
    }
}

/* --- the key of the keys ------------------------------------------------------------------------------------------ */

/* Where provisioner.c has it. The caller frees it. */
static char *key_file(const struct settings *settings, const struct database *database) {
    char *path = NULL;
    const char *folder = database_folder(database);
    int length = folder != NULL ? asprintf(&path, "%s/encryption.key", folder)
                                : asprintf(&path, "%s/../encryption.key", settings->run_dir);
    return length < 0 ? NULL : path;
}

/* Whether anything was ever sealed; a database without tables has nothing either. */
static bool has_seals(struct database *database) {
    struct error err = {0};
    int64_t count = 0;
    return migrations_current(database, &err) > 0 &&
           ask(database, "SELECT count(*) FROM properties WHERE name = '" VAULT_CHECK_NAME "'", &count, NULL, &err) &&
           count > 0;
}

static void check_key(const struct settings *settings, struct database *database, struct findings *findings) {
    struct stat status;
    cleanup_free char *path = key_file(settings, database);
    if (path == NULL) {
        findings->is_incomplete = true;
    } else if (settings->encryption_key != NULL) {
        findings_add(findings, "encryption key", FINDING_OK, NULL, "in the settings");
    } else if (stat(path, &status) == 0) {
        bool is_open = (status.st_mode & OTHERS_MAY) != 0;
        findings_add(findings, "encryption key", is_open ? FINDING_WARN : FINDING_OK, is_open ? "`chmod 600` it" : NULL,
                     "in `%s`%s", path, is_open ? ", which others can read" : "");
    } else if (has_seals(database)) {
        findings_add(findings, "encryption key", FINDING_FAIL,
                     "put it back from where you keep it, or set TERMINALS_ENCRYPTION_KEY",
                     "there is no `%s`, but the database was written with one", path);
    } else {
        findings_add(findings, "encryption key", FINDING_OK, NULL, "`%s` will be made", path);
    }
}

void doctor_look_at_database(const struct settings *settings, struct findings *findings) {
    struct error err = {0};
    const char *path = sqlite_path(settings->database_url);
    if (path != NULL && access(path, F_OK) != 0) {
        findings_add(findings, "database", FINDING_OK, NULL, "`%s` will be made", path);
        return;
    }
    struct database *database =
        database_open(settings->database_url, settings->database_password, DATABASE_SHARED, &err);
    if (database == NULL) {
        findings_add(findings, "database", FINDING_FAIL,
                     path != NULL ? restore : "look at TERMINALS_DATABASE_URL, and at the server", "%s", err.message);
        return;
    }
    check_version(database, findings);
    check_writing(database, findings);
    if (database_kind(database) == DATABASE_SQLITE) {
        check_whole(database, findings);
    } else {
        check_server(database, findings);
    }
    check_key(settings, database, findings);
    database_close(database);
}
