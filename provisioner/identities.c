#include "provisioner/identities.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "provisioner/node.h"

#define ANYBODY            "*"
#define EXPIRY_INTERVAL_MS 1000
#define SWEEP_DATABASE_MS  60000
#define TOKEN_MAX_MS       (24 * 3600 * 1000) /* as TOKEN_CACHE_TTL: whatever a peer says */

static struct identity *find(struct identity *table, const char *digest) {
    struct identity *identity = NULL;
    HASH_FIND(hh, table, digest, strlen(digest), identity);
    return identity;
}

static bool remember(struct identity **table, const char *digest, int64_t until_ms, struct error *err) {
    struct identity *identity = find(*table, digest);
    if (identity == NULL) {
        identity = calloc(1, sizeof *identity);
        if (identity == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        strncpy(identity->digest, digest, DIGEST_HEX_LENGTH);
        HASH_ADD_STR(*table, digest, identity);
    }
    identity->until_ms = until_ms;
    return true;
}

static void forget(struct identity **table, struct identity *identity) {
    if (identity != NULL &&
        *table != NULL) { /* the latter for clang-tidy, which does not know that a member has a table */
        HASH_DEL(*table, identity);
        free(identity);
    }
}

static void forget_all(struct provisioner *provisioner) {
    while (provisioner->api_keys != NULL) {
        forget(&provisioner->api_keys, provisioner->api_keys);
    }
    while (provisioner->users_tokens != NULL) {
        forget(&provisioner->users_tokens, provisioner->users_tokens);
    }
}

/* --- users' tokens ------------------------------------------------------------------------------------------------ */

/* Takes a user's token out of the map, too. */
static void drop_token(struct provisioner *provisioner, struct identity *identity) {
    if (identity != NULL) {
        map_remove(provisioner->identities, identity->digest);
        forget(&provisioner->users_tokens, identity);
    }
}

/* Rows that have expired do no harm: they are never read. */
static void sweep_database(struct provisioner *provisioner, int64_t now_ms) {
    struct error err;
    if (now_ms - provisioner->identities_swept_ms < SWEEP_DATABASE_MS) {
        return;
    }
    provisioner->identities_swept_ms = now_ms;
    if (!store_forget_identities(provisioner->store, IDENTITIES_EXPIRED, clock_unix_ms(), &err)) {
        log_warning(NULL, "expired identities stay in the database: %s", err.message);
    }
}

static bool start_timer(struct provisioner *provisioner, struct error *err);

/* Those that expire before the next time. */
static void on_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct provisioner *provisioner = argument;
    struct identity *identity, *next;
    struct error err;
    int64_t now_ms = clock_monotonic_ms();
    HASH_ITER(hh, provisioner->users_tokens, identity, next) {
        if (identity->until_ms < now_ms + EXPIRY_INTERVAL_MS) {
            drop_token(provisioner, identity);
        }
    }
    sweep_database(provisioner, now_ms);
    if (!start_timer(provisioner, &err)) { /* nobody would take them out */
        log_error(NULL, "users' tokens: %s", err.message);
        identities_forget_users(provisioner, NULL);
    }
}

/* Runs as long as there is something that can expire. */
static bool start_timer(struct provisioner *provisioner, struct error *err) {
    const struct timeval interval = {EXPIRY_INTERVAL_MS / 1000, EXPIRY_INTERVAL_MS % 1000 * 1000};
    if (provisioner->users_tokens == NULL) {
        return true;
    }
    if (provisioner->identities_timer == NULL) {
        provisioner->identities_timer = evtimer_new(provisioner->base, on_timer, provisioner);
    }
    return (provisioner->identities_timer != NULL && (evtimer_pending(provisioner->identities_timer, NULL) ||
                                                      evtimer_add(provisioner->identities_timer, &interval) == 0)) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool check_user(const char *user_id, struct error *err) {
    return name_check_user_id(user_id, err) &&
           (strcmp(user_id, ANYBODY) != 0 || error_set(err, ERROR_INVALID, "`*` is no user"));
}

/* The map first: what is there and not in the database is gone after a restart, which is safe. */
static bool put_token(struct provisioner *provisioner, const struct identity_record *record, int64_t until_ms,
                      bool is_recorded, struct error *err) {
    return map_put(provisioner->identities, record->digest, record->user_id, err) &&
           (is_recorded || store_save_identity(provisioner->store, record, err)) &&
           remember(&provisioner->users_tokens, record->digest, until_ms, err) && start_timer(provisioner, err);
}

static bool add(struct provisioner *provisioner, const struct identity_record *record, bool is_recorded,
                struct error *err) {
    int64_t left_ms = record->expires_at_ms - clock_unix_ms();
    if (!check_user(record->user_id, err)) {
        return false;
    }
    if (find(provisioner->api_keys, record->digest) != NULL) {
        return error_set(err, ERROR_INVALID, "this is an API key's digest");
    }
    if (left_ms <= 0) {
        drop_token(provisioner, find(provisioner->users_tokens, record->digest));
        return true;
    }
    left_ms = left_ms < TOKEN_MAX_MS ? left_ms : TOKEN_MAX_MS;
    if (!put_token(provisioner, record, clock_monotonic_ms() + left_ms, is_recorded, err)) {
        map_remove(provisioner->identities, record->digest);
        forget(&provisioner->users_tokens, find(provisioner->users_tokens, record->digest));
        return false;
    }
    return true;
}

bool identities_add(struct provisioner *provisioner, const struct identity_record *record, struct error *err) {
    cleanup_free char *text = NULL;
    if (!add(provisioner, record, false, err)) {
        return false;
    }
    if (provisioner->node != NULL &&
        asprintf(&text, "%s %lld %s", record->digest, (long long)record->expires_at_ms, record->user_id) > 0) {
        node_announce(provisioner->node, ANNOUNCE_IDENTITY, text);
    }
    return true;
}

void identities_learn(struct provisioner *provisioner, const char *text) {
    char digest[DIGEST_HEX_SIZE];
    char *end = NULL;
    struct error err;
    if (strlen(text) <= DIGEST_HEX_SIZE) {
        return;
    }
    memcpy(digest, text, DIGEST_HEX_LENGTH);
    digest[DIGEST_HEX_LENGTH] = '\0';
    int64_t expires_at_ms = strtoll(text + DIGEST_HEX_SIZE, &end, 10);
    const struct identity_record record = {digest, *end == ' ' ? end + 1 : end, expires_at_ms};
    if (!add(provisioner, &record, true, &err)) {
        log_warning(NULL, "an identity that another node has found: %s", err.message);
    }
}

bool identities_forget_users(struct provisioner *provisioner, struct error *err) {
    while (provisioner->users_tokens != NULL) {
        drop_token(provisioner, provisioner->users_tokens);
    }
    node_announce(provisioner->node, ANNOUNCE_IDENTITIES, "");
    return store_forget_identities(provisioner->store, IDENTITIES_OF_USERS, 0, err);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

/* The content of the map while it is read from the database. */
struct loading {
    struct map_entry *entries; /* own their strings */
    int64_t *until_ms;         /* of each */
    size_t count;
    size_t capacity;
};

static void loading_cleanup_function(struct loading *loading) {
    for (size_t i = 0; i < loading->count; i++) {
        free((char *)loading->entries[i].key);
        free((char *)loading->entries[i].value);
    }
    free(loading->entries);
    free(loading->until_ms);
}
#define cleanup_loading __attribute__((cleanup(loading_cleanup_function)))

static bool make_room(struct loading *loading) {
    if (loading->count < loading->capacity) {
        return true;
    }
    size_t capacity = loading->capacity * 2 + 16;
    struct map_entry *entries = reallocarray(loading->entries, capacity, sizeof *entries);
    if (entries != NULL) {
        loading->entries = entries;
    }
    int64_t *until_ms = reallocarray(loading->until_ms, capacity, sizeof *until_ms);
    if (until_ms != NULL) {
        loading->until_ms = until_ms;
    }
    if (entries == NULL || until_ms == NULL) {
        return false;
    }
    loading->capacity = capacity;
    return true;
}

static bool load_one(void *argument, const struct identity_record *record, struct error *err) {
    struct loading *loading = argument;
    if (strlen(record->digest) != DIGEST_HEX_LENGTH) {
        return error_set(err, ERROR_INTERNAL, "a row of identities holds no digest");
    }
    if (!make_room(loading)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    int64_t left_ms = record->expires_at_ms == 0 ? 0 : record->expires_at_ms - clock_unix_ms();
    left_ms = left_ms < TOKEN_MAX_MS ? left_ms : TOKEN_MAX_MS;
    loading->until_ms[loading->count] = clock_monotonic_ms() + left_ms;
    struct map_entry *entry = &loading->entries[loading->count++];
    *entry = (struct map_entry){strdup(record->digest), strdup(record->user_id)};
    return (entry->key != NULL && entry->value != NULL) || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* Remembers what was read, and nothing else. */
static bool remember_all(struct provisioner *provisioner, const struct loading *loading, struct error *err) {
    forget_all(provisioner);
    bool ok = true;
    for (size_t i = 0; ok && i < loading->count; i++) {
        bool is_api_key = strcmp(loading->entries[i].value, ANYBODY) == 0;
        ok = remember(is_api_key ? &provisioner->api_keys : &provisioner->users_tokens, loading->entries[i].key,
                      is_api_key ? 0 : loading->until_ms[i], err);
    }
    return ok && start_timer(provisioner, err);
}

static bool map_file_was_emptied(const struct provisioner *provisioner) {
    cleanup_free char *path = NULL;
    struct stat status;
    if (asprintf(&path, "%s/identities.map", provisioner->run_dir) < 0) {
        path = NULL;
        return false;
    }
    return stat(path, &status) == 0 && status.st_size == 0;
}

static bool load(struct provisioner *provisioner, struct error *err) {
    cleanup_loading struct loading loading = {0};
    return store_each_identity(provisioner->store, clock_unix_ms(), load_one, &loading, err) &&
           remember_all(provisioner, &loading, err) &&
           map_change_to(provisioner->identities, loading.entries, loading.count, err);
}

bool identities_load(struct provisioner *provisioner, struct error *err) {
    bool is_first = node_leads(provisioner->node) && !node_has_others(provisioner->node);
    if (is_first && map_file_was_emptied(provisioner) &&
        !store_forget_identities(provisioner->store, IDENTITIES_ALL, 0, err)) {
        return false;
    }
    if (node_leads(provisioner->node)) {
        return load(provisioner, err);
    }
    identities_reread(provisioner); /* one that follows can wait for its database */
    return true;
}

/* What cannot be read changes nothing. */
void identities_reread(struct provisioner *provisioner) {
    struct error err;
    bool was_told = provisioner->identities_are_stale; /* of a database that is away: once */
    provisioner->identities_are_stale = !load(provisioner, &err);
    if (provisioner->identities_are_stale && !was_told) {
        log_warning(NULL, "read the identities anew: %s (tried again)", err.message);
    }
}

void identities_reread_if_stale(struct provisioner *provisioner) {
    if (provisioner->identities_are_stale) {
        identities_reread(provisioner);
    }
}

/* --- API keys ----------------------------------------------------------------------------------------------------- */

static bool is_among(const char *digest, const char *const *digests, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(digest, digests[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* True if the API keys are exactly these already, on record and in the map. */
static bool holds_already(struct provisioner *provisioner, const char *const *digests, size_t count) {
    struct identity *identity, *next;
    HASH_ITER(hh, provisioner->api_keys, identity, next) {
        if (!is_among(identity->digest, digests, count)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (find(provisioner->api_keys, digests[i]) == NULL || map_get(provisioner->identities, digests[i]) == NULL) {
            return false;
        }
    }
    return true;
}

bool identities_set_api_keys(struct provisioner *provisioner, const char *const *digests, size_t count,
                             struct error *err) {
    if (holds_already(provisioner, digests, count)) {
        return true;
    }
    if (!store_replace_api_keys(provisioner->store, digests, count, err)) {
        return false;
    }
    struct identity *identity, *next;
    HASH_ITER(hh, provisioner->api_keys, identity, next) {
        if (!is_among(identity->digest, digests, count)) {
            map_remove(provisioner->identities, identity->digest);
            forget(&provisioner->api_keys, identity);
        }
    }
    for (size_t i = 0; i < count; i++) {
        drop_token(provisioner, find(provisioner->users_tokens, digests[i]));
        bool is_in_map = map_get(provisioner->identities, digests[i]) != NULL;
        if (!remember(&provisioner->api_keys, digests[i], 0, err) ||
            (!is_in_map && !map_put(provisioner->identities, digests[i], ANYBODY, err))) {
            return false;
        }
    }
    node_announce(provisioner->node, ANNOUNCE_IDENTITIES, "");
    return true;
}

void identities_free(struct provisioner *provisioner) {
    forget_all(provisioner);
    if (provisioner->identities_timer != NULL) {
        event_free(provisioner->identities_timer);
        provisioner->identities_timer = NULL;
    }
}
