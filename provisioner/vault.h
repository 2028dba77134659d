/* vault.h - instance keys at rest: AES-256-GCM (NIST SP 800-38D) from OpenSSL's libcrypto.
 *
 * The key is the SHA-256 of TERMINALS_ENCRYPTION_KEY, or of what stands in a generated file. A box is a version byte,
 * the nonce (random, 12 bytes), the ciphertext and the tag (16 bytes); the tenant's id is authenticated with it, so
 * that a box cannot be moved to another row. One thread only. */
#ifndef TERMINALS_PROVISIONER_VAULT_H
#define TERMINALS_PROVISIONER_VAULT_H

#include <stddef.h>

#include "common/error.h"
#include "provisioner/store.h"

struct vault;

/* `encryption_key` is the setting, or NULL: then `key_file` is read, or generated (0600) if neither it nor anything
 * encrypted with it exists. A key that is not the one this database was written with is refused, with what to do about
 * it; nothing is changed then. NULL with *err. */
struct vault *vault_open(struct store *store, const char *encryption_key, const char *key_file, struct error *err);
void vault_close(struct vault *vault);

/* Seals a text for the tenant `id`: a new box that the caller frees, its size in *length. NULL with *err. */
void *vault_seal(struct vault *vault, const char *id, const char *secret, size_t *length, struct error *err);

/* Opens a box: a text for secret_free(). NULL with *err if it was not sealed with this key for this tenant. */
char *vault_unseal(struct vault *vault, const char *id, const void *box, size_t length, struct error *err);

#endif
