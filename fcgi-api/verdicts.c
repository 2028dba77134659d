#include "fcgi-api/verdicts.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct entry {
    char digest[DIGEST_HEX_SIZE];
    int64_t until_ms;
    UT_hash_handle hh; /* in the order in which they came */
    char user_id[];    /* of those accepted, else empty */
};

struct verdicts {
    struct entry *accepted;
    struct entry *refused;
    struct entry *familiar;
};

static void drop(struct entry **table, struct entry *entry) {
    if (entry != NULL) {
        HASH_DEL(*table, entry);
        free(entry);
    }
}

static struct entry *find(struct entry *table, const char *digest) {
    struct entry *entry = NULL;
    HASH_FIND(hh, table, digest, strlen(digest), entry);
    return entry;
}

/* Of those that were remembered for equal times the oldest end first; the others are dropped when they are met. */
static void make_room(struct entry **table, size_t max, int64_t now_ms) {
    while (*table != NULL && ((*table)->until_ms <= now_ms || HASH_COUNT(*table) >= max)) {
        drop(table, *table);
    }
}

static void put(struct entry **table, size_t max, const char *digest, const char *user_id, int64_t now_ms,
                int64_t until_ms) {
    make_room(table, max, now_ms);
    size_t length = strlen(user_id);
    struct entry *entry = calloc(1, sizeof *entry + length + 1);
    if (entry != NULL) {
        memcpy(entry->user_id, user_id, length);
        memcpy(entry->digest, digest, strnlen(digest, DIGEST_HEX_LENGTH));
        entry->until_ms = until_ms;
        HASH_ADD_STR(*table, digest, entry);
    }
}

struct verdicts *verdicts_new(void) {
    return calloc(1, sizeof(struct verdicts));
}

static void empty(struct entry **table) {
    while (*table != NULL) {
        drop(table, *table);
    }
}

void verdicts_free(struct verdicts *verdicts) {
    if (verdicts != NULL) {
        empty(&verdicts->accepted);
        empty(&verdicts->refused);
        empty(&verdicts->familiar);
        free(verdicts);
    }
}

static void forget(struct verdicts *verdicts, const char *digest) {
    drop(&verdicts->accepted, find(verdicts->accepted, digest));
    drop(&verdicts->refused, find(verdicts->refused, digest));
    drop(&verdicts->familiar, find(verdicts->familiar, digest));
}

void verdicts_accept(struct verdicts *verdicts, const char *digest, const char *user_id, int64_t now_ms,
                     int64_t until_ms) {
    forget(verdicts, digest);
    if (until_ms > now_ms) {
        put(&verdicts->accepted, VERDICTS_ACCEPTED_MAX, digest, user_id, now_ms, until_ms);
    }
    put(&verdicts->familiar, VERDICTS_ACCEPTED_MAX, digest, "", now_ms, now_ms + VERDICTS_FAMILIAR_MS);
}

void verdicts_refuse(struct verdicts *verdicts, const char *digest, int64_t now_ms) {
    forget(verdicts, digest);
    put(&verdicts->refused, VERDICTS_REFUSED_MAX, digest, "", now_ms, now_ms + VERDICTS_REFUSED_MS);
}

enum verdict verdicts_find(struct verdicts *verdicts, const char *digest, int64_t now_ms,
                           char user_id[NAME_USER_ID_MAX_BYTES + 1]) {
    struct entry *entry = find(verdicts->accepted, digest);
    if (entry != NULL && entry->until_ms > now_ms) {
        memcpy(user_id, entry->user_id, strlen(entry->user_id) + 1);
        return VERDICT_ACCEPTED;
    }
    drop(&verdicts->accepted, entry);
    entry = find(verdicts->refused, digest);
    if (entry != NULL && entry->until_ms > now_ms) {
        return VERDICT_REFUSED;
    }
    drop(&verdicts->refused, entry);
    return VERDICT_UNKNOWN;
}

bool verdicts_is_familiar(struct verdicts *verdicts, const char *digest, int64_t now_ms) {
    struct entry *entry = find(verdicts->familiar, digest);
    return entry != NULL && entry->until_ms > now_ms;
}
