/* database.h - one connection to a database, of whichever kind: statements with numbered parameters, rows,
 * transactions.
 *
 * For store*.c and migrations.c. One small set of functions with two implementations (database_sqlite.c,
 * database_postgres.c), so that SQL is written once, in what both take: `ON CONFLICT … DO UPDATE`, `RETURNING`, `$1`,
 * `$2`, … numbered in the order in which they first appear, texts in UTF-8, whole numbers of 64 bits, and bytes (BLOB,
 * BYTEA). Errors: ERROR_CAPACITY for what passes (disk full, locked, away), ERROR_INTERNAL for what does not
 * (read-only, damaged, a bug). Messages name the database, never a
 * password; `err` is never NULL. One thread only. */
#ifndef TERMINALS_PROVISIONER_DATABASE_H
#define TERMINALS_PROVISIONER_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "provisioner/histogram.h"

struct database;
struct database_statement;

enum database_kind { DATABASE_SQLITE, DATABASE_POSTGRES };

/* Opens what TERMINALS_DATABASE_URL names. `password` (may be NULL) counts where the URL has none. An owner is the only
 * one of this schema on PostgreSQL, as long as it has a connection: what a provisioner keeps in memory, no other may
 * change behind its back. (On SQLite this is for the run folder's lock to see to.) NULL with *err. */
enum database_use { DATABASE_SHARED, DATABASE_OWNED };
struct database *database_open(const char *url, const char *password, enum database_use use, struct error *err);
void database_close(struct database *database); /* NULL is fine; its statements are freed before */

/* Which of the two its URL named. */
enum database_kind database_kind(const struct database *database);

/* How long commits took, and statements that give no rows (histogram_bounds_of_latencies). */
const struct histogram *database_commits(const struct database *database);
const struct histogram *database_statements(const struct database *database);

/* Did what was last asked of it fail? Then *err says how. */
bool database_is_failing(const struct database *database, struct error *err);

/* The folder that the database file lies in, or NULL if it is no file. Valid as long as the database. */
const char *database_folder(const struct database *database);

/* Runs a script of statements without parameters. Outside of a transaction a script may happen in part. */
bool database_execute(struct database *database, const char *script, struct error *err);

/* Begins a transaction; ends it. A commit that fails has rolled back; what became of one whose answer was lost, nobody
 * knows. database_rollback() has nothing to say: what fails in it has undone the transaction in another way. */
enum database_transaction {
    TRANSACTION_ORDINARY,
    TRANSACTION_DURABLE, /* it is on the disk, whatever the power does, when database_commit() returns */
    TRANSACTION_ALONE,   /* nobody else has one of this kind meanwhile, and it may take minutes: for migrations */
};
bool database_begin(struct database *database, enum database_transaction kind, struct error *err);
bool database_commit(struct database *database, struct error *err);
void database_rollback(struct database *database);

/* A statement, to be run any number of times. `sql` must stay. NULL with *err. */
struct database_statement *database_prepare(struct database *database, const char *sql, struct error *err);
void database_statement_free(struct database_statement *statement);

/* Ends a run, if there is one: its rows are gone. database_clear() forgets the parameters too. */
void database_reset(struct database_statement *statement);
void database_clear(struct database_statement *statement);

/* Bind a parameter, counted from 1; NULL becomes SQL NULL, and so does what is never bound. Texts and bytes are
 * borrowed until the run has ended. */
bool database_bind_text(struct database_statement *statement, int index, const char *text, struct error *err);
bool database_bind_int(struct database_statement *statement, int index, int64_t value, struct error *err);
bool database_bind_int_or_null(struct database_statement *statement, int index, int64_t value, struct error *err);
bool database_bind_blob(struct database_statement *statement, int index, const void *data, size_t length,
                        struct error *err);

/* The next row: 1, or 0 at the end and -1 with *err, after which the run has ended. */
int database_step(struct database_statement *statement, struct error *err);

/* Runs a statement that gives no rows. In a transaction this may be told to have worked when it has not: then whatever
 * comes next fails, the commit at the latest. */
bool database_run(struct database_statement *statement, struct error *err);

/* How many rows the last run changed, outside of a transaction. */
int64_t database_changes(const struct database_statement *statement);

/* A column of the row, counted from 0. Texts (NULL for SQL NULL) and bytes are borrowed until the next step; a number
 * that is SQL NULL is 0. */
const char *database_text(const struct database_statement *statement, int column);
int64_t database_int(const struct database_statement *statement, int column);
const void *database_blob(const struct database_statement *statement, int column, size_t *length);

#endif
