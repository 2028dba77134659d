/* store.h - the database, hidden: what the provisioner must remember when it is killed.
 *
 * Nobody outside store*.c and migrations.c sees SQL or a row. Every function that changes something is one transaction:
 * it happened whole or not at all. Errors say what was attempted: ERROR_CAPACITY for what passes (disk full, locked),
 * ERROR_INTERNAL for what does not (read-only, damaged, out of memory). One thread only. Times are Unix milliseconds.
 *
 * The SQL is in store_statements.c; database.h runs it, on whichever database it is. */
#ifndef TERMINALS_PROVISIONER_STORE_H
#define TERMINALS_PROVISIONER_STORE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/digest.h"
#include "common/error.h"
#include "provisioner/histogram.h"
#include "provisioner/instance_states.h"

struct store;

/* Makes what is changed in between one transaction, if `ok`; store_end() returns whether it is committed. For changes
 * of different kinds that are worth nothing without each other: functions that change several rows cannot come between.
 */
bool store_begin(struct store *store, struct error *err);
bool store_end(struct store *store, bool ok, struct error *err);

/* Opens (a file is created if there is none, mode 0600, folder included) what TERMINALS_DATABASE_URL names and brings
 * its schema up to date. `sqlite:///relative`, `sqlite:////absolute`, or what libpq takes, `postgresql://…`; a
 * `+driver` suffix of the scheme is ignored, as SQLAlchemy writes it. `password` (may be NULL) counts where the URL has
 * none. Waits for a PostgreSQL that is not there yet, or that another provisioner uses, half a minute at most. NULL
 * with *err. */
struct store *store_open(const char *url, const char *password, struct error *err);
void store_close(struct store *store);

/* The same for one of several nodes, who settle among each other who writes (store_nodes.h); on SQLite there is no
 * difference. */
struct store *store_join(const char *url, const char *password, struct error *err);

/* What it is called ("sqlite"), and how long it took to commit and to run a statement
 * (histogram_bounds_of_latencies). */
const char *store_kind_name(const struct store *store);
const struct histogram *store_commits(const struct store *store);
const struct histogram *store_statements(const struct store *store);

/* Is the database away, or does it take nothing? *err then says why. One that failed is tried with something small,
 * since nobody else may ask it anything for long. */
bool store_is_failing(struct store *store, struct error *err);

/* The folder that the database file lies in, or NULL if it is no file. Valid as long as the store. */
const char *store_folder(const struct store *store);

/* One row of `tenants`. On the way in, the store only reads; on the way out, everything is borrowed during the call. */
struct tenant_record {
    char id[37];
    char *user_id;
    char *policy_id;
    char *context_id;
    char route_key[DIGEST_HEX_SIZE];
    char instance_id[33]; /* "": there never was one */
    char *instance_name;
    char *backend_type;
    char *backend_reference;     /* NULL: nothing outside us can exist */
    char host[INET6_ADDRSTRLEN]; /* "": no address (yet) */
    uint16_t port;
    void *key_encrypted; /* vault.h; NULL while there is no instance */
    size_t key_encrypted_length;
    enum instance_state status;
    char policy_hash[17]; /* policy.h: of the policy's data at its start */
    char *error;          /* why it is in `error`, or why it ended by itself; else NULL */
    int64_t created_at_ms;
    int64_t updated_at_ms;
    int64_t last_accessed_at_ms;
    int64_t started_at_ms; /* when its instance was ready; 0: it does not run */
};

/* Inserts the row, or overwrites the one with the same id. */
bool store_save_tenant(struct store *store, const struct tenant_record *record, struct error *err);
bool store_delete_tenant(struct store *store, const char *id, struct error *err);

/* Calls `row` for each tenant, the oldest first, until it returns false (which is then the result, with its *err). */
bool store_each_tenant(struct store *store,
                       bool (*row)(void *argument, const struct tenant_record *record, struct error *err),
                       void *argument, struct error *err);

/* Writes many times of last access in one transaction. */
struct tenant_access {
    const char *id;
    int64_t last_accessed_at_ms;
};
bool store_save_accesses(struct store *store, const struct tenant_access *accesses, size_t count, struct error *err);

/* Gives tenants new `key_encrypted`s and sets a property, all in one transaction that is on the disk when this returns.
 */
struct sealed_key {
    const char *tenant_id;
    const void *box;
    size_t length;
};
bool store_replace_keys(struct store *store, const struct sealed_key *keys, size_t count, const char *check_name,
                        const void *check, size_t check_length, struct error *err);

/* One row of `policies`. */
struct policy_record {
    const char *id;
    const char *data; /* JSON text */
    int64_t created_at_ms;
    int64_t updated_at_ms;
};

/* Inserts the row, or overwrites the one with the same id. */
bool store_save_policy(struct store *store, const struct policy_record *record, struct error *err);
bool store_delete_policy(struct store *store, const char *id, struct error *err);

/* Calls `row` for each policy, the oldest first, until it returns false. */
bool store_each_policy(struct store *store,
                       bool (*row)(void *argument, const struct policy_record *record, struct error *err),
                       void *argument, struct error *err);

/* One row of `lifecycles`, which goes with its policy's. */
struct lifecycle_record {
    const char *policy_id;
    const char *schedule;
    const char *time_zone;
    int64_t since_ms; /* when it was set */
};

/* Inserts the row, or overwrites the one of the same policy. */
bool store_save_lifecycle(struct store *store, const struct lifecycle_record *record, struct error *err);
bool store_delete_lifecycle(struct store *store, const char *policy_id, struct error *err);

/* Calls `row` for each lifecycle until it returns false. */
bool store_each_lifecycle(struct store *store,
                          bool (*row)(void *argument, const struct lifecycle_record *record, struct error *err),
                          void *argument, struct error *err);

/* One row of `resets`, which goes with its tenant's. */
struct reset_record {
    const char *tenant_id;
    const char *route_key; /* the tenant's; on the way out only */
    int64_t due_at_ms;     /* the newest due time that is done with */
};

/* Inserts the row, or overwrites the one of the same tenant. */
bool store_save_reset(struct store *store, const struct reset_record *record, struct error *err);

/* Calls `row` for each row until it returns false. */
bool store_each_reset(struct store *store,
                      bool (*row)(void *argument, const struct reset_record *record, struct error *err), void *argument,
                      struct error *err);

/* One row of `identities`: the digest of a token and whom it stands for ("*": anybody). */
struct identity_record {
    const char *digest;
    const char *user_id;
    int64_t expires_at_ms; /* 0: never */
};

/* Makes `digests` the identities of "*", and no others; the rest of the table stays. */
bool store_replace_api_keys(struct store *store, const char *const *digests, size_t count, struct error *err);

/* Inserts or overwrites the identity of one user's token, which expires. */
bool store_save_identity(struct store *store, const struct identity_record *record, struct error *err);

/* Deletes those that have expired at `expired_at_ms`, those of users, or all. */
enum identity_kind { IDENTITIES_EXPIRED, IDENTITIES_OF_USERS, IDENTITIES_ALL };
bool store_forget_identities(struct store *store, enum identity_kind kind, int64_t expired_at_ms, struct error *err);

/* Calls `row` for each identity that has not expired at `now_ms`, until it returns false. */
bool store_each_identity(struct store *store, int64_t now_ms,
                         bool (*row)(void *argument, const struct identity_record *record, struct error *err),
                         void *argument, struct error *err);

/* One row of `audit_logs`; texts may be NULL but for id, action and severity. */
struct audit_record {
    int64_t sequence; /* its place in the order in which rows were written; given by the database */
    const char *id;
    const char *action;
    const char *severity;
    const char *user_id;
    const char *request_id;
    const char *resource_type;
    const char *resource_id;
    const char *detail;
    const char *ip_address;
    const char *user_agent;
    int64_t status_code; /* 0: none */
    int64_t created_at_ms;
};

struct audit_filter {
    const char *action;  /* NULL: any */
    const char *user_id; /* NULL: any */
    int64_t since_ms;    /* 0: any */
    int64_t limit;
    int64_t offset;
};

/* A row whose id is there already is the same one, said again: no error. */
bool store_append_audit(struct store *store, const struct audit_record *record, struct error *err);

/* Counting a million rows would keep everybody waiting for a tenth of a second. */
#define STORE_AUDIT_TOTAL_MAX 100000

/* Calls `row` for each match, newest first, and counts the matches in *total, up to STORE_AUDIT_TOTAL_MAX. */
bool store_list_audit(struct store *store, const struct audit_filter *filter,
                      bool (*row)(void *argument, const struct audit_record *record, struct error *err), void *argument,
                      int64_t *total, struct error *err);

/* Calls `row` for the first row after `sequence`, if there is one (*found). */
bool store_next_audit(struct store *store, int64_t sequence,
                      bool (*row)(void *argument, const struct audit_record *record, struct error *err), void *argument,
                      bool *found, struct error *err);

/* The highest number ever given to a row; 0: none yet. */
bool store_last_audit_sequence(struct store *store, int64_t *sequence, struct error *err);

/* Deletes the oldest rows that were written before `before_ms`, `limit` at most, and says how many. */
bool store_delete_audit(struct store *store, int64_t before_ms, int64_t limit, int64_t *deleted, struct error *err);

/* A single value. Get: 1 and a copy that the caller frees, 0 if there is none, -1 with *err. */
int store_get_property(struct store *store, const char *name, void **value, size_t *length, struct error *err);
bool store_set_property(struct store *store, const char *name, const void *value, size_t length, struct error *err);

#endif
