/* identities.h - whose token is whose: identities.map and its memory in the database.
 *
 * There are two kinds. An API key stands for anybody ("*") until the set of keys is replaced. A user's token stands for
 * that user until it expires, and is taken out of the map a moment before that, never after: those of one second
 * together, since HAProxy stands still for each deletion (maps.h). */
#ifndef TERMINALS_PROVISIONER_IDENTITIES_H
#define TERMINALS_PROVISIONER_IDENTITIES_H

#include <uthash.h>

#include "common/digest.h"
#include "provisioner/provisioner.h"

struct identity {
    char digest[DIGEST_HEX_SIZE];
    int64_t until_ms; /* of a user's token, clock_monotonic_ms(): the wall clock may be set back */
    UT_hash_handle hh;
};

/* Fills the map with what the database holds and has not expired; unless identities.map is there and empty, which is
 * how `terminals serve` begins: then nothing is taken over, since keys and secrets may have changed, and the database
 * is emptied too. (Not where other nodes are: one that joins changes nothing of theirs.) */
bool identities_load(struct provisioner *provisioner, struct error *err);

/* Makes these (upper-case hex SHA-256), and no others, the API keys; database first, then the map. */
bool identities_set_api_keys(struct provisioner *provisioner, const char *const *digests, size_t count,
                             struct error *err);

/* Adds a user's token, or gives it another user or expiry. One that has expired is taken out. ERROR_INVALID for a user
 * id that is none, or `*`. */
bool identities_add(struct provisioner *provisioner, const struct identity_record *record, struct error *err);

/* Takes out all users' tokens. */
bool identities_forget_users(struct provisioner *provisioner, struct error *err);

/* What another node has announced: one that it added, or that all are to be read from the database. If that fails,
 * nothing changes, and identities_reread_if_stale() tries again. */
void identities_learn(struct provisioner *provisioner, const char *text);
void identities_reread(struct provisioner *provisioner);
void identities_reread_if_stale(struct provisioner *provisioner);

/* At the end. The map keeps what it has. */
void identities_free(struct provisioner *provisioner);

#endif
