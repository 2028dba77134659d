/* identities.h - whose token is whose: identities.map and its memory in the database. */
#ifndef TERMINALS_PROVISIONER_IDENTITIES_H
#define TERMINALS_PROVISIONER_IDENTITIES_H

#include <uthash.h>

#include "common/digest.h"
#include "provisioner/provisioner.h"

/* The digest of an API key: whoever has the key may act for anybody. */
struct identity {
    char digest[DIGEST_HEX_SIZE];
    UT_hash_handle hh;
};

/* Fills the map with what the database holds and has not expired. */
bool identities_load(struct provisioner *provisioner, struct error *err);

/* Makes these (upper-case hex SHA-256), and no others, the API keys; database first, then the map. */
bool identities_set_api_keys(struct provisioner *provisioner, const char *const *digests, size_t count,
                             struct error *err);

void identities_free(struct provisioner *provisioner);

#endif
