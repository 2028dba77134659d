/* database_postgres.c - database.h on PostgreSQL.
 *
 * Statements are not prepared on the server, so that a new connection needs nothing, nor a pooler in between. In a
 * transaction, what gives no rows is queued (pipeline mode, PostgreSQL 15 documentation §34.5) and goes out with what
 * comes next or with the commit: a transaction takes two round trips however many rows it writes. A failure of what was
 * queued is told by whatever comes next; nothing of the transaction has happened then.
 *
 * A connection that turns out to be gone is made anew, and what was to be done is done once more, unless it was in the
 * middle of a transaction: every statement of ours that may come alone does no harm if it has happened twice. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "provisioner/database_internal.h"
#include "provisioner/postgres_link.h"

#define PARAMETERS_MAX    32
#define QUEUE_MAX         500
#define PATIENCE_MS       30000             /* of a start, for a database that is being started too */
#define LONG_SILENCE_MS   (15 * 60 * 1000L) /* of a migration of many rows, or while another node migrates */
#define MIGRATION_LOCK    "7239381446231"   /* any number that nobody else locks in this database */
#define NUMBER_SIZE_BYTES 24

struct postgres_database {
    struct database base;
    struct postgres_link link;
    int64_t silence_ms;
    bool in_transaction;
    unsigned generation;  /* of the connection that the transaction is on */
    int queued;           /* statements whose answers nobody has seen */
    struct error failure; /* of something queued: the transaction is to be rolled back */
};

struct postgres_statement {
    struct database_statement base;
    const char *sql;
    int count; /* of parameters bound, the highest index */
    const char *values[PARAMETERS_MAX];
    int lengths[PARAMETERS_MAX];
    int formats[PARAMETERS_MAX]; /* 1: bytes as they are */
    char numbers[PARAMETERS_MAX][NUMBER_SIZE_BYTES];
    PGresult *result; /* the rows of this run */
    int row;
    int64_t changed;
};

static struct postgres_database *of(struct database *database) {
    return (struct postgres_database *)database;
}

static struct postgres_statement *of_statement(struct database_statement *statement) {
    return (struct postgres_statement *)statement;
}

/* --- the queue ------------------------------------------------------------------------------------------------------
 */

/* The rest of a transaction whose connection is gone has nowhere to go. */
static bool check_transaction(struct postgres_database *database, struct error *err) {
    if (!database->in_transaction) {
        return true;
    }
    if (database->failure.code == ERROR_NONE &&
        (!database->link.is_connected || database->generation != database->link.generation)) {
        error_set(&database->failure, ERROR_CAPACITY, "database `%s`: the connection broke in a transaction",
                  database->link.name);
        error_veil(&database->failure, DATABASE_TOLD);
    }
    *err = database->failure;
    return database->failure.code == ERROR_NONE;
}

/* Collects the answers of all that was queued. */
static bool settle(struct postgres_database *database, struct error *err) {
    if (database->queued == 0) {
        return true;
    }
    struct postgres_link *link = &database->link;
    database->queued = 0;
    if (!PQpipelineSync(link->connection)) {
        postgres_link_fail(link, NULL, &database->failure);
    }
    bool is_synchronised = false;
    while (link->connection != NULL && !is_synchronised) {
        struct error failure;
        PGresult *result = postgres_link_result(link, database->silence_ms, &failure);
        is_synchronised = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (result != NULL && PQresultStatus(result) == PGRES_FATAL_ERROR) {
            postgres_link_fail(link, result, &failure);
        }
        if (failure.code != ERROR_NONE && database->failure.code == ERROR_NONE) {
            database->failure = failure;
        }
        PQclear(result); /* NULL stands between the answers of two statements */
    }
    if (link->connection != NULL && !PQexitPipelineMode(link->connection)) {
        postgres_link_fail(link, NULL, &database->failure);
    }
    *err = database->failure;
    return database->failure.code == ERROR_NONE;
}

static bool send_statement(struct postgres_database *database, const struct postgres_statement *statement) {
    return PQsendQueryParams(database->link.connection, statement->sql, statement->count, NULL, statement->values,
                             statement->lengths, statement->formats, 1) == 1;
}

static bool queue(struct postgres_database *database, const struct postgres_statement *statement, struct error *err) {
    if (database->queued == QUEUE_MAX && !settle(database, err)) {
        return false;
    }
    bool ok =
        (database->queued > 0 || PQenterPipelineMode(database->link.connection)) && send_statement(database, statement);
    if (!ok) {
        postgres_link_fail(&database->link, NULL, &database->failure);
        *err = database->failure;
        return false;
    }
    database->queued++;
    return true;
}

/* --- one thing, and its answer --------------------------------------------------------------------------------------
 */

static PGresult *ask_once(struct postgres_database *database, const struct postgres_statement *statement,
                          const char *script, struct error *err) {
    if (!postgres_link_connect(&database->link, POSTGRES_CONNECT_WAIT_MS, err)) {
        return NULL;
    }
    bool sent =
        script != NULL ? PQsendQuery(database->link.connection, script) == 1 : send_statement(database, statement);
    if (!sent) {
        postgres_link_fail(&database->link, NULL, err);
        return NULL;
    }
    return postgres_link_finish(&database->link, database->silence_ms, err);
}

/* Sends a statement or a script and returns its answer; NULL with *err. */
static PGresult *ask(struct postgres_database *database, const struct postgres_statement *statement, const char *script,
                     struct error *err) {
    if (!check_transaction(database, err) || !settle(database, err)) {
        return NULL;
    }
    bool was_connected = database->link.is_connected;
    int64_t began_ms = clock_monotonic_ms();
    PGresult *result = ask_once(database, statement, script, err);
    bool is_gone = result == NULL && !database->link.is_connected;
    if (is_gone && was_connected && !database->in_transaction &&
        clock_monotonic_ms() - began_ms < POSTGRES_CONNECT_WAIT_MS) {
        result = ask_once(database, statement, script, err); /* it went unnoticed while nobody asked */
    }
    if (result == NULL && database->in_transaction) {
        database->failure = *err;
    }
    return result;
}

static bool execute(struct database *base, const char *script, struct error *err) {
    PGresult *result = ask(of(base), NULL, script, err);
    PQclear(result);
    return result != NULL;
}

/* --- transactions ---------------------------------------------------------------------------------------------------
 */

static bool begin(struct database *base, enum database_transaction kind, struct error *err) {
    struct postgres_database *database = of(base);
    bool is_alone = kind == TRANSACTION_ALONE;
    database->silence_ms = is_alone ? LONG_SILENCE_MS : POSTGRES_SILENCE_MS;
    database->failure.code = ERROR_NONE;
    /* A commit waits for the server's disk unless its administrator has said otherwise, which then is meant. */
    bool ok = execute(base,
                      is_alone ? "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
                                 "SET LOCAL idle_in_transaction_session_timeout = 0; "
                                 "SELECT pg_advisory_xact_lock(" MIGRATION_LOCK ")"
                               : "BEGIN",
                      err);
    database->in_transaction = ok;
    database->generation = database->link.generation;
    if (!ok) {
        database->silence_ms = POSTGRES_SILENCE_MS;
    }
    return ok;
}

static void end(struct postgres_database *database) {
    database->in_transaction = false;
    database->silence_ms = POSTGRES_SILENCE_MS;
    database->failure.code = ERROR_NONE;
}

static void rollback(struct database *base) {
    struct postgres_database *database = of(base);
    struct error ignored;
    settle(database, &ignored);
    bool is_ours = database->link.is_connected && database->generation == database->link.generation;
    end(database);
    /* A server that does not even roll back gets no more of us: with the connection goes the transaction. */
    if (is_ours && !execute(base, "ROLLBACK", &ignored)) {
        postgres_link_drop(&database->link);
    }
}

static bool commit(struct database *base, struct error *err) {
    static const struct postgres_statement statement = {.sql = "COMMIT"};
    struct postgres_database *database = of(base);
    bool ok = check_transaction(database, err) && queue(database, &statement, err) && settle(database, err);
    if (ok) {
        end(database);
    } else {
        rollback(base);
    }
    return ok;
}

/* --- statements -----------------------------------------------------------------------------------------------------
 */

static struct database_statement *prepare(struct database *database, const char *sql, struct error *err) {
    struct postgres_statement *statement = calloc(1, sizeof *statement);
    if (statement == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    statement->base.database = database;
    statement->sql = sql;
    return &statement->base;
}

static void reset(struct database_statement *base) {
    PQclear(of_statement(base)->result);
    of_statement(base)->result = NULL;
}

static void statement_free(struct database_statement *base) {
    reset(base);
    free(base);
}

static void clear(struct database_statement *base) {
    struct postgres_statement *statement = of_statement(base);
    reset(base);
    for (int i = 0; i < statement->count; i++) {
        statement->values[i] = NULL;
    }
    statement->count = 0;
}

static bool bind(struct database_statement *base, int index, const char *value, size_t length, int format,
                 struct error *err) {
    struct postgres_statement *statement = of_statement(base);
    if (index < 1 || index > PARAMETERS_MAX || length > INT32_MAX) {
        return error_set(err, ERROR_INTERNAL, "a statement has no place for its parameter %d: %s", index,
                         statement->sql);
    }
    statement->values[index - 1] = value;
    statement->lengths[index - 1] = (int)length;
    statement->formats[index - 1] = format;
    statement->count = index > statement->count ? index : statement->count;
    return true;
}

static bool bind_null(struct database_statement *statement, int index, struct error *err) {
    return bind(statement, index, NULL, 0, 0, err);
}

static bool bind_text(struct database_statement *statement, int index, const char *text, struct error *err) {
    return bind(statement, index, text, 0, 0, err);
}

static bool bind_blob(struct database_statement *statement, int index, const void *data, size_t length,
                      struct error *err) {
    return bind(statement, index, data, length, 1, err);
}

static bool bind_int(struct database_statement *base, int index, int64_t value, struct error *err) {
    if (!bind(base, index, "", 0, 0, err)) {
        return false;
    }
    struct postgres_statement *statement = of_statement(base);
    snprintf(statement->numbers[index - 1], NUMBER_SIZE_BYTES, "%lld", (long long)value);
    statement->values[index - 1] = statement->numbers[index - 1];
    return true;
}

static int step(struct database_statement *base, struct error *err) {
    struct postgres_statement *statement = of_statement(base);
    if (statement->result == NULL) {
        statement->result = ask(of(base->database), statement, NULL, err);
        if (statement->result == NULL) {
            return -1;
        }
        statement->changed = strtoll(PQcmdTuples(statement->result), NULL, 10);
        statement->row = -1;
    }
    if (++statement->row < PQntuples(statement->result)) {
        return 1;
    }
    reset(base);
    return 0;
}

static bool run(struct database_statement *base, struct error *err) {
    struct postgres_database *database = of(base->database);
    if (!database->in_transaction) {
        int stepped = step(base, err);
        reset(base);
        return stepped >= 0;
    }
    return check_transaction(database, err) && queue(database, of_statement(base), err);
}

static int64_t changes(const struct database_statement *base) {
    return ((const struct postgres_statement *)base)->changed;
}

static const char *text(const struct database_statement *base, int column) {
    const struct postgres_statement *statement = (const struct postgres_statement *)base;
    return PQgetisnull(statement->result, statement->row, column)
               ? NULL
               : PQgetvalue(statement->result, statement->row, column);
}

static const void *blob(const struct database_statement *base, int column, size_t *length) {
    const struct postgres_statement *statement = (const struct postgres_statement *)base;
    *length = (size_t)PQgetlength(statement->result, statement->row, column);
    return text(base, column);
}

/* In the binary format: big-endian, of 2, 4 or 8 bytes. */
static int64_t integer(const struct database_statement *base, int column) {
    size_t length = 0;
    const void *bytes = blob(base, column, &length);
    uint16_t two = 0;
    uint32_t four = 0;
    uint64_t eight = 0;
    switch (bytes == NULL ? 0 : length) {
    case sizeof two:
        memcpy(&two, bytes, sizeof two);
        return (int16_t)be16toh(two);
    case sizeof four:
        memcpy(&four, bytes, sizeof four);
        return (int32_t)be32toh(four);
    case sizeof eight:
        memcpy(&eight, bytes, sizeof eight);
        return (int64_t)be64toh(eight);
    default:
        return 0;
    }
}

/* --- opening and closing --------------------------------------------------------------------------------------------
 */

static void close_postgres(struct database *base) {
    postgres_link_free(&of(base)->link);
    free(base);
}

struct postgres_link *database_postgres_link(struct database *database) {
    return &of(database)->link;
}

static const char *folder(const struct database *database) {
    (void)database;
    return NULL;
}

static const struct database_operations operations = {
    .kind = DATABASE_POSTGRES,
    .close = close_postgres,
    .folder = folder,
    .execute = execute,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .prepare = prepare,
    .statement_free = statement_free,
    .reset = reset,
    .clear = clear,
    .bind_null = bind_null,
    .bind_text = bind_text,
    .bind_int = bind_int,
    .bind_blob = bind_blob,
    .step = step,
    .run = run,
    .changes = changes,
    .text = text,
    .integer = integer,
    .blob = blob,
};

struct database *database_postgres_open(const char *url, const char *password, enum database_use use,
                                        struct error *err) {
    struct postgres_database *database = calloc(1, sizeof *database);
    if (database == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    database->base.operations = &operations;
    database->silence_ms = POSTGRES_SILENCE_MS;
    bool ok = postgres_link_init(&database->link, url, password, err);
    database->link.wants_lock = use == DATABASE_OWNED;
    if (!ok || !postgres_link_connect_patiently(&database->link, PATIENCE_MS, err)) {
        close_postgres(&database->base);
        return NULL;
    }
    return &database->base;
}
