#include "provisioner/identities.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define ANYBODY "*"

static struct identity *find(const struct provisioner *provisioner, const char *digest) {
    struct identity *identity = NULL;
    HASH_FIND(hh, provisioner->api_keys, digest, strlen(digest), identity);
    return identity;
}

static bool remember(struct provisioner *provisioner, const char *digest, struct error *err) {
    if (find(provisioner, digest) != NULL) {
        return true;
    }
    struct identity *identity = calloc(1, sizeof *identity);
    if (identity == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    strncpy(identity->digest, digest, DIGEST_HEX_LENGTH);
    HASH_ADD_STR(provisioner->api_keys, digest, identity);
    return true;
}

/* The content of the map while it is read from the database. */
struct loading {
    struct provisioner *provisioner;
    struct map_entry *entries; /* own their strings */
    size_t count;
};

static void loading_cleanup_function(struct loading *loading) {
    for (size_t i = 0; i < loading->count; i++) {
        free((char *)loading->entries[i].key);
        free((char *)loading->entries[i].value);
    }
    free(loading->entries);
}

static bool load_one(void *argument, const struct identity_record *record, struct error *err) {
    struct loading *loading = argument;
    if (strlen(record->digest) != DIGEST_HEX_LENGTH) {
        return error_set(err, ERROR_INTERNAL, "a row of identities holds no digest");
    }
    struct map_entry *grown = realloc(loading->entries, (loading->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    loading->entries = grown;
    struct map_entry *entry = &loading->entries[loading->count++];
    *entry = (struct map_entry){strdup(record->digest), strdup(record->user_id)};
    if (entry->key == NULL || entry->value == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return strcmp(record->user_id, ANYBODY) != 0 || remember(loading->provisioner, record->digest, err);
}

bool identities_load(struct provisioner *provisioner, struct error *err) {
    __attribute__((cleanup(loading_cleanup_function))) struct loading loading = {.provisioner = provisioner};
    return store_each_identity(provisioner->store, clock_unix_ms(), load_one, &loading, err) &&
           map_replace_all(provisioner->identities, loading.entries, loading.count, err);
}

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
        if (find(provisioner, digests[i]) == NULL || map_get(provisioner->identities, digests[i]) == NULL) {
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
            HASH_DEL(provisioner->api_keys, identity);
            free(identity);
        }
    }
    for (size_t i = 0; i < count; i++) {
        bool is_in_map = map_get(provisioner->identities, digests[i]) != NULL;
        if (!remember(provisioner, digests[i], err) ||
            (!is_in_map && !map_put(provisioner->identities, digests[i], ANYBODY, err))) {
            return false;
        }
    }
    return true;
}

void identities_free(struct provisioner *provisioner) {
    struct identity *identity, *next;
    HASH_ITER(hh, provisioner->api_keys, identity, next) {
        HASH_DEL(provisioner->api_keys, identity);
        free(identity);
    }
}
