/* vault.h - instance keys at rest: AES-256-GCM (NIST SP 800-38D) from OpenSSL's libcrypto.
 *
 * The key is the SHA-256 of TERMINALS_ENCRYPTION_KEY, or of what stands in a generated file. A box is a version byte,
 * the nonce (random, 12 bytes), the ciphertext and the tag (16 bytes); the tenant's id is authenticated with it, so
 * that a box cannot be moved to another row.
 *
 * Changing the key takes two files and a database, and a kill may come between any two of them. So the new key is
 * durable, in `<key file>.next`, before the database knows of it; the database changes in one transaction, the check
 * value that tells which key it was written with among it; then the file takes the place of the old one. Whoever opens
 * the vault finds by the check value which of the two files holds the key, and finishes what was begun. One thread
 * only. */
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

/* The vault that follows this one: its key is made of `new_key`, or generated and written to `<key file>.next`. A vault
 * with a key file takes none, and one without needs one: ERROR_INVALID. NULL with *err. */
struct vault *vault_successor(const struct vault *vault, const char *new_key, struct error *err);

/* The property by which the database tells which key it was written with: a value for `vault`, which the caller frees.
 */
#define VAULT_CHECK_NAME "encryption_key_check"
void *vault_check_value(const struct vault *vault, size_t *length, struct error *err);

/* Once the database is written with the successor's key: makes `vault` use it, and the file the key file. False with
 * *err if the file could not be renamed, which the next vault_open() does; the key is the new one all the same. */
bool vault_succeed(struct vault *vault, const struct vault *successor, struct error *err);

/* Nothing was written with it: removes its file. */
void vault_abandon(const struct vault *successor);

/* Seals a text for the tenant `id`: a new box that the caller frees, its size in *length. NULL with *err. */
void *vault_seal(const struct vault *vault, const char *id, const char *secret, size_t *length, struct error *err);

/* Opens a box: a text for secret_free(). NULL with *err if it was not sealed with this key for this tenant. */
char *vault_unseal(const struct vault *vault, const char *id, const void *box, size_t length, struct error *err);

#endif
