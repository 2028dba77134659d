#include "provisioner/postgres_link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/database_internal.h"

#define CONNECT_GIVE_UP_MS 20000 /* several hosts may be tried, one after the other */
#define PATIENCE_STEP_MS   200

/* The server, too, ends what we have given up: a statement, a wait for a lock, a transaction of a node that is gone. */
#define SESSION                                                                                                        \
    "SET statement_timeout = '10s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '10s'; "        \
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "                    \
    "SET tcp_user_timeout = 5000"
#define LISTEN "; DO $$ BEGIN EXECUTE format('LISTEN %I', " POSTGRES_CHANNEL "); END $$"
/* Held by the session. The first number is any that nobody else uses in this database. */
#define LOCK       "SELECT pg_try_advisory_lock(" POSTGRES_LOCK_NUMBERS ")"
#define LOCK_ALONE LOCK " AND pg_try_advisory_lock(" POSTGRES_ALONE_NUMBERS ")"
/* Who gets the lock again knows what stands in the database only if nobody else has led meanwhile. */
#define LOCK_AGAIN LOCK " AND (SELECT term = %lld FROM leadership)"

/* --- what the URL says ----------------------------------------------------------------------------------------------
 */

/* `postgresql+asyncpg://x` and `postgres://x` as `postgresql://x`; NULL: it is no such URL, or no memory. */
static char *plain_url(const char *url) {
    size_t scheme = strcspn(url, "+:");
    const char *rest = strstr(url, "://");
    bool good = (scheme == strlen("postgresql") && strncmp(url, "postgresql", scheme) == 0) ||
                (scheme == strlen("postgres") && strncmp(url, "postgres", scheme) == 0);
    char *plain = NULL;
    if (!good || rest == NULL || strcspn(url, ":") != (size_t)(rest - url)) {
        return NULL;
    }
    return asprintf(&plain, "postgresql%s", rest) < 0 ? NULL : plain;
}

static const char *option(const PQconninfoOption *options, const char *keyword) {
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val;
        }
    }
    return NULL;
}

/* What people recognise it by: `postgresql://host:port/database`, `postgresql:///database?host=/socket's/folder`. */
static char *name_of(const PQconninfoOption *options) {
    struct buffer name = {0};
    const char *host = option(options, "host") != NULL ? option(options, "host") : option(options, "hostaddr");
    const char *port = option(options, "port");
    const char *database = option(options, "dbname");
    bool is_socket = host != NULL && host[0] == '/';
    buffer_append_format(&name, "postgresql://%s%s%s/%s%s%s", host == NULL || is_socket ? "" : host,
                         port == NULL ? "" : ":", port == NULL ? "" : port, database == NULL ? "" : database,
                         is_socket ? "?host=" : "", is_socket ? host : "");
    return buffer_take(&name);
}

static bool add(struct postgres_link *link, size_t *count, const char *keyword, const char *value) {
    link->keywords[*count] = strdup(keyword);
    link->values[*count] = strdup(value);
    bool ok = link->keywords[*count] != NULL && link->values[*count] != NULL;
    ++*count;
    return ok;
}

static bool copy_options(struct postgres_link *link, const PQconninfoOption *options, const char *password) {
    size_t all = 0;
    size_t count = 0;
    while (options[all].keyword != NULL) {
        all++;
    }
    link->keywords = calloc(all + 5, sizeof *link->keywords);
    link->values = calloc(all + 5, sizeof *link->values);
    bool ok = link->keywords != NULL && link->values != NULL;
    for (size_t i = 0; ok && i < all; i++) {
        ok = options[i].val == NULL || add(link, &count, options[i].keyword, options[i].val);
    }
    if (ok && password != NULL && option(options, "password") == NULL) {
        ok = add(link, &count, "password", password);
    }
    if (ok && option(options, "tcp_user_timeout") == NULL) {
        ok = add(link, &count, "tcp_user_timeout", "5000"); /* of SYNs, too: then comes the next host of several */
    }
    return ok && add(link, &count, "fallback_application_name", "terminals") &&
           add(link, &count, "client_encoding", "UTF8");
}

bool postgres_link_init(struct postgres_link *link, const char *url, const char *password, struct error *err) {
    *link = (struct postgres_link){0};
    cleanup_secret char *plain = plain_url(url);
    char *complaint = NULL;
    PQconninfoOption *options = plain == NULL ? NULL : PQconninfoParse(plain, &complaint);
    secret_free(complaint); /* it quotes what it trips over, which may be a password */
    if (options == NULL) {
        return error_set(
            err, ERROR_INVALID,
            "TERMINALS_DATABASE_URL: not understood; expected `postgresql://user@host:port/database`, with "
            "other characters than letters, digits and -._~ percent-encoded");
    }
    link->name = name_of(options);
    bool ok = link->name != NULL && copy_options(link, options, password);
    PQconninfoFree(options);
    return ok || error_set(err, ERROR_INTERNAL, "out of memory");
}

void postgres_link_free(struct postgres_link *link) {
    postgres_link_drop(link);
    for (size_t i = 0; link->keywords != NULL && link->values != NULL && link->keywords[i] != NULL; i++) {
        free(link->keywords[i]);
        secret_free(link->values[i]);
    }
    free(link->keywords);
    free(link->values);
    free(link->name);
}

/* --- errors ---------------------------------------------------------------------------------------------------------
 */

/* PostgreSQL's own message on one line: libpq ends it with a line feed, and puts several into one. */
static void one_line(const char *message, char *out, size_t size) {
    size_t length = message == NULL ? 0 : strcspn(message, "\n");
    length = length < size ? length : size - 1;
    memcpy(out, message == NULL ? "" : message, length);
    out[length] = '\0';
}

void postgres_link_drop(struct postgres_link *link) {
    if (link->connection != NULL && link->closing != NULL) {
        link->closing(link->watcher);
    }
    PQfinish(link->connection);
    link->connection = NULL;
    link->is_connected = false;
}

/* There is no connection, and for a while none is tried. */
static bool lose(struct postgres_link *link, const char *message, struct error *err) {
    postgres_link_drop(link);
    error_set(&link->failure, ERROR_CAPACITY, "database `%s`: it is away (%s)", link->name, message);
    error_veil(&link->failure, DATABASE_TOLD);
    if (err != NULL) {
        *err = link->failure;
    }
    return false;
}

bool postgres_link_fail(struct postgres_link *link, const PGresult *result, struct error *err) {
    /* By SQLSTATE, the first that fits. (PostgreSQL 15, appendix A) */
    static const struct {
        const char *state;
        enum error_code code;
        const char *meaning;
    } meanings[] = {
        {"53100", ERROR_CAPACITY, "the disk is full"},
        {"53", ERROR_CAPACITY, "it has no room left"},
        {"55P03", ERROR_CAPACITY, "another program keeps it locked"},
        {"57014", ERROR_CAPACITY, "it takes too long"},
        {"57", ERROR_CAPACITY, "it is away"},
        {"08", ERROR_CAPACITY, "it is away"},
        {"40", ERROR_CAPACITY, "another program was faster"},
        {"25P0", ERROR_CAPACITY, "it has given the transaction up"},
        {"25006", ERROR_INTERNAL, "it cannot be written"},
        {"42501", ERROR_INTERNAL, "it cannot be written"},
        {"XX001", ERROR_INTERNAL, "it is damaged: restore it from a backup"},
        {"XX002", ERROR_INTERNAL, "it is damaged: restore it from a backup"},
        {"58", ERROR_INTERNAL, "the disk does not do what it is told"},
        {"", ERROR_INTERNAL, "it refuses"},
    };
    char message[256];
    if (result == NULL || PQstatus(link->connection) == CONNECTION_BAD) {
        one_line(result == NULL ? PQerrorMessage(link->connection) : PQresultErrorMessage(result), message,
                 sizeof message);
        return lose(link, message, err);
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    size_t i = 0;
    while (state == NULL ? meanings[i].state[0] != '\0'
                         : strncmp(state, meanings[i].state, strlen(meanings[i].state)) != 0) {
        i++;
    }
    one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), message, sizeof message);
    error_set(err, meanings[i].code, "database `%s`: %s (%s)", link->name, meanings[i].meaning, message);
    return error_veil(err, DATABASE_TOLD);
}

/* --- waiting --------------------------------------------------------------------------------------------------------
 */

/* False: nothing happened until then. */
static bool wait_for(const PGconn *connection, short events, int64_t until_ms) {
    struct pollfd socket = {.fd = PQsocket(connection), .events = events};
    for (;;) {
        int64_t left_ms = until_ms - clock_monotonic_ms();
        int ready = poll(&socket, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
    }
}

static void take_notifications(struct postgres_link *link) {
    PGnotify *notification;
    while ((notification = PQnotifies(link->connection)) != NULL) {
        if (link->notified != NULL && notification->be_pid != PQbackendPID(link->connection)) {
            link->notified(link->watcher, notification->extra);
        }
        PQfreemem(notification);
    }
}

bool postgres_link_poll(struct postgres_link *link) {
    if (link->connection == NULL || !link->is_connected) {
        return false;
    }
    if (!PQconsumeInput(link->connection)) {
        return postgres_link_fail(link, NULL, NULL);
    }
    take_notifications(link);
    return true;
}

/* Sends what is left and reads what comes, until a result is whole. */
static bool exchange(struct postgres_link *link, int64_t silence_ms, struct error *err) {
    int64_t until_ms = clock_monotonic_ms() + silence_ms;
    for (;;) {
        int left = PQflush(link->connection);
        if (left < 0) {
            return postgres_link_fail(link, NULL, err);
        }
        if (left == 0 && !PQisBusy(link->connection)) {
            return true;
        }
        if (!wait_for(link->connection, (short)(left > 0 ? POLLIN | POLLOUT : POLLIN), until_ms)) {
            return lose(link, "it does not answer", err);
        }
        if (!PQconsumeInput(link->connection)) {
            return postgres_link_fail(link, NULL, err);
        }
        take_notifications(link);
        until_ms = clock_monotonic_ms() + silence_ms;
    }
}

PGresult *postgres_link_result(struct postgres_link *link, int64_t silence_ms, struct error *err) {
    *err = (struct error){0};
    return exchange(link, silence_ms, err) ? PQgetResult(link->connection) : NULL;
}

static bool is_failure(const PGresult *result) {
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_NONFATAL_ERROR;
}

PGresult *postgres_link_finish(struct postgres_link *link, int64_t silence_ms, struct error *err) {
    PGresult *last = NULL;
    struct error failure = {0};
    for (;;) {
        struct error lost;
        PGresult *result = postgres_link_result(link, silence_ms, &lost);
        if (result == NULL && lost.code != ERROR_NONE) {
            failure = lost;
        }
        if (result == NULL) {
            break;
        }
        PQclear(last);
        last = result;
        if (is_failure(result) && failure.code == ERROR_NONE) {
            postgres_link_fail(link, result, &failure);
            if (link->connection == NULL) {
                break;
            }
        }
    }
    if (failure.code == ERROR_NONE && last != NULL) {
        return last;
    }
    PQclear(last);
    if (failure.code == ERROR_NONE) {
        error_set(&failure, ERROR_INTERNAL, "database `%s`: it gave no answer", link->name);
        error_veil(&failure, DATABASE_TOLD);
    }
    *err = failure;
    return NULL;
}

/* --- connecting -----------------------------------------------------------------------------------------------------
 */

static bool begin(struct postgres_link *link, struct error *err) {
    link->began_ms = clock_monotonic_ms();
    link->events = POLLOUT; /* what libpq wants to wait for first */
    link->connection = PQconnectStartParams((const char *const *)link->keywords, (const char *const *)link->values, 0);
    if (link->connection == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return PQstatus(link->connection) != CONNECTION_BAD || postgres_link_fail(link, NULL, err);
}

/* Goes on with a connection that has begun: 1 when it is there, 0 not yet, -1 it failed. */
static int go_on(struct postgres_link *link, int64_t until_ms, struct error *err) {
    for (;;) {
        if (!wait_for(link->connection, link->events, until_ms)) {
            return 0;
        }
        switch (PQconnectPoll(link->connection)) {
        case PGRES_POLLING_OK:
            return 1;
        case PGRES_POLLING_READING:
            link->events = POLLIN;
            break;
        case PGRES_POLLING_WRITING:
            link->events = POLLOUT;
            break;
        default:
            postgres_link_fail(link, NULL, err);
            return -1;
        }
    }
}

/* "The table exists already" is not worth a line on stderr, which is all that libpq would do with it. */
static void ignore_notice(void *argument, const PGresult *notice) {
    (void)argument;
    (void)notice;
}

static bool take_lock(struct postgres_link *link, struct error *err) {
    char query[256];
    snprintf(query, sizeof query, link->term == 0 ? LOCK_ALONE : LOCK_AGAIN, (long long)link->term);
    if (!PQsendQuery(link->connection, query)) {
        return postgres_link_fail(link, NULL, err);
    }
    PGresult *result = postgres_link_finish(link, POSTGRES_SILENCE_MS, err);
    if (result == NULL) {
        return false;
    }
    link->is_locked_out = PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), "t") != 0;
    PQclear(result);
    if (link->is_locked_out) {
        error_set(err, ERROR_CAPACITY, "database `%s`: another provisioner uses it, and only one can at a time",
                  link->name);
        return error_veil(err, DATABASE_TOLD);
    }
    return true;
}

static bool set_up(struct postgres_link *link, struct error *err) {
    PQsetNoticeReceiver(link->connection, ignore_notice, NULL);
    if (PQsetnonblocking(link->connection, 1) != 0 ||
        !PQsendQuery(link->connection, link->listens ? SESSION LISTEN : SESSION)) {
        return postgres_link_fail(link, NULL, err);
    }
    PGresult *result = postgres_link_finish(link, POSTGRES_SILENCE_MS, err);
    PQclear(result);
    return result != NULL && (!link->wants_lock || take_lock(link, err));
}

static bool complete(struct postgres_link *link, struct error *err) {
    if (!set_up(link, err)) {
        return false;
    }
    link->is_connected = true;
    link->generation++;
    if (link->failure.code != ERROR_NONE) {
        log_info(NULL, "database `%s`: it is back", link->name);
        link->failure.code = ERROR_NONE;
    }
    return true;
}

/* What was told last about a server that is away; once in a while it is tried again. */
static bool still_away(struct postgres_link *link, struct error *err) {
    *err = link->failure;
    return false;
}

static bool connect_failed(struct postgres_link *link, const struct error *err) {
    link->failure = *err;
    postgres_link_drop(link);
    link->retry_ms = clock_monotonic_ms() + POSTGRES_RETRY_MS;
    return false;
}

bool postgres_link_connect(struct postgres_link *link, int64_t wait_ms, struct error *err) {
    int64_t now_ms = clock_monotonic_ms();
    if (link->is_connected) {
        return true;
    }
    if (link->connection == NULL) {
        if (now_ms < link->retry_ms) {
            return still_away(link, err);
        }
        if (!begin(link, err)) {
            return connect_failed(link, err);
        }
    }
    /* Who calls while it takes longer does not wait at all. */
    int progress = go_on(link, link->began_ms + wait_ms, err);
    if (progress > 0 && complete(link, err)) {
        return true;
    }
    if (progress == 0 && clock_monotonic_ms() - link->began_ms < CONNECT_GIVE_UP_MS) {
        error_set(err, ERROR_CAPACITY, "database `%s`: it is away (no connection yet)", link->name);
        return error_veil(err, DATABASE_TOLD);
    }
    if (progress == 0) {
        lose(link, "it does not answer", err);
    }
    return connect_failed(link, err);
}

/* A server takes connections, whether it wants ours or not. */
static bool is_there(const struct postgres_link *link) {
    return PQpingParams((const char *const *)link->keywords, (const char *const *)link->values, 0) == PQPING_OK;
}

bool postgres_link_connect_patiently(struct postgres_link *link, int64_t patience_ms, struct error *err) {
    const struct timespec step = {.tv_nsec = PATIENCE_STEP_MS * 1000000L};
    int64_t until_ms = clock_monotonic_ms() + patience_ms;
    bool is_told = false;
    bool was_there = false;
    while (!postgres_link_connect(link, PATIENCE_STEP_MS, err)) {
        bool is_over = clock_monotonic_ms() >= until_ms;
        if (link->connection == NULL && (is_over || (was_there && !link->is_locked_out))) {
            return false; /* it was there before we tried: waiting does not help */
        }
        if (is_over) {
            return lose(link, "it does not answer", err);
        }
        was_there = link->connection == NULL && is_there(link);
        link->retry_ms = 0; /* the pause here is another */
        if (was_there && !link->is_locked_out) {
            continue;
        }
        if (!is_told && link->connection == NULL) {
            log_warning(NULL, "%s; waiting for it", err->message);
            is_told = true;
        }
        nanosleep(&step, NULL);
    }
    return true;
}
