#include "provisioner/vault.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/key_file.h"

#define BOX_VERSION      1
#define NONCE_BYTES      12
#define TAG_BYTES        16
#define BOX_OVERHEAD     (1 + NONCE_BYTES + TAG_BYTES)
#define SECRET_MAX_BYTES (256 * 1024 * 1024) /* a message between nodes may tell of all tenants */

#define CHECK_TEXT "terminals"

struct vault {
    unsigned char key[SHA256_DIGEST_LENGTH];
    char *key_file; /* NULL: the key is a setting */
};

static void cipher_cleanup_function(EVP_CIPHER_CTX **context) {
    EVP_CIPHER_CTX_free(*context);
}
#define cleanup_cipher __attribute__((cleanup(cipher_cleanup_function)))

void *vault_seal(const struct vault *vault, const char *id, const char *secret, size_t *length, struct error *err) {
    int secret_length = (int)strnlen(secret, SECRET_MAX_BYTES);
    cleanup_free unsigned char *box = malloc(BOX_OVERHEAD + (size_t)secret_length);
    cleanup_cipher EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (box == NULL || context == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    unsigned char *nonce = box + 1;
    unsigned char *text = nonce + NONCE_BYTES;
    box[0] = BOX_VERSION;
    int part = 0;
    if (getrandom(nonce, NONCE_BYTES, 0) != NONCE_BYTES ||
        EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, vault->key, nonce) != 1 ||
        EVP_EncryptUpdate(context, NULL, &part, (const unsigned char *)id, (int)strlen(id)) != 1 ||
        EVP_EncryptUpdate(context, text, &part, (const unsigned char *)secret, secret_length) != 1 ||
        EVP_EncryptFinal_ex(context, text + part, &part) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, text + secret_length) != 1) {
        error_set(err, ERROR_INTERNAL, "encrypt the key of an instance");
        return NULL;
    }
    *length = BOX_OVERHEAD + (size_t)secret_length;
    return steal_pointer(&box);
}

char *vault_unseal(const struct vault *vault, const char *id, const void *box, size_t length, struct error *err) {
    const unsigned char *bytes = box;
    if (box == NULL || length < BOX_OVERHEAD || length > BOX_OVERHEAD + SECRET_MAX_BYTES || bytes[0] != BOX_VERSION) {
        error_set(err, ERROR_INTERNAL, "an encrypted key has an unknown form");
        return NULL;
    }
    int text_length = (int)(length - BOX_OVERHEAD);
    const unsigned char *nonce = bytes + 1;
    const unsigned char *text = nonce + NONCE_BYTES;
    unsigned char tag[TAG_BYTES];
    memcpy(tag, text + text_length, TAG_BYTES);
    cleanup_secret char *secret = calloc(1, (size_t)text_length + 1);
    cleanup_cipher EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (secret == NULL || context == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    int part = 0;
    if (EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, vault->key, nonce) != 1 ||
        EVP_DecryptUpdate(context, NULL, &part, (const unsigned char *)id, (int)strlen(id)) != 1 ||
        EVP_DecryptUpdate(context, (unsigned char *)secret, &part, text, text_length) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) != 1 ||
        EVP_DecryptFinal_ex(context, (unsigned char *)secret + part, &part) != 1) {
        error_set(err, ERROR_INTERNAL, "an encrypted key was not sealed with this encryption key");
        return NULL;
    }
    return steal_pointer(&secret);
}

/* --- which key it is ------------------------------------------------------------------------------------------------
 */

static struct vault *vault_new(const char *text, const char *key_file, struct error *err) {
    struct vault *vault = calloc(1, sizeof *vault);
    char *copy = key_file == NULL ? NULL : strdup(key_file);
    if (vault == NULL || (key_file != NULL && copy == NULL)) {
        free(vault);
        free(copy);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    vault->key_file = copy;
    SHA256((const unsigned char *)text, strlen(text), vault->key);
    return vault;
}

/* What the database says of the key it was written with. */
struct check {
    void *value; /* NULL: nothing was encrypted yet */
    size_t length;
};

static bool fits(const struct vault *vault, const struct check *check) {
    cleanup_secret char *text = vault_unseal(vault, VAULT_CHECK_NAME, check->value, check->length, NULL);
    return secret_equals(text, CHECK_TEXT);
}

/* The vault of the key in `path`, if there is one and it fits. 1, 0 if not, -1 with *err. */
static int open_file(const char *path, const char *key_file, const struct check *check, struct vault **vault,
                     struct error *err) {
    cleanup_secret char *text = NULL;
    int found = key_file_read(path, &text, err);
    if (found <= 0) {
        return found;
    }
    *vault = vault_new(text, key_file, err);
    if (*vault == NULL) {
        return -1;
    }
    if (!fits(*vault, check)) {
        vault_close(*vault);
        *vault = NULL;
        return 0;
    }
    return 1;
}

/* The key is in the key file; or, if a change was cut short, in the one that was to follow it. */
static struct vault *open_either_file(const char *key_file, const struct check *check, struct error *err) {
    struct vault *vault = NULL;
    cleanup_free char *next = key_file_next(key_file, err);
    int found = next == NULL ? -1 : open_file(key_file, key_file, check, &vault, err);
    if (found > 0) {
        unlink(next); /* of a change that did not come to be */
        return vault;
    }
    found = found < 0 ? -1 : open_file(next, key_file, check, &vault, err);
    if (found > 0) {
        if (key_file_replace(key_file, err)) {
            log_info(NULL, "a change of the encryption key was cut short: it is complete now");
            return vault;
        }
        vault_close(vault);
        return NULL;
    }
    if (found == 0 && access(key_file, F_OK) != 0) {
        error_set(err, ERROR_CONFLICT,
                  "the database holds keys that were encrypted, but there is no `%s`: put it back, or set "
                  "TERMINALS_ENCRYPTION_KEY to what it was",
                  key_file);
    } else if (found == 0) {
        error_set(err, ERROR_CONFLICT,
                  "%s is not the encryption key that this database was written with: put back the former file, or use "
                  "another database",
                  key_file);
    }
    return NULL;
}

static struct vault *open_setting(const char *encryption_key, const char *key_file, const struct check *check,
                                  struct error *err) {
    struct vault *vault = vault_new(encryption_key, NULL, err);
    if (vault != NULL && check->value != NULL && !fits(vault, check)) {
        error_set(
            err, ERROR_CONFLICT,
            "TERMINALS_ENCRYPTION_KEY is not the encryption key that this database was written with: set the former "
            "key again (or the one that followed it, if it was changed)%s%s%s, or use another database",
            access(key_file, F_OK) == 0 ? ", or unset it to use `" : "", access(key_file, F_OK) == 0 ? key_file : "",
            access(key_file, F_OK) == 0 ? "`" : "");
        vault_close(vault);
        return NULL;
    }
    return vault;
}

/* Nothing was encrypted yet: any key will do, and from then on it is the one. */
static struct vault *open_first(struct store *store, const char *encryption_key, const char *key_file,
                                struct error *err) {
    cleanup_secret char *text = encryption_key == NULL ? NULL : strdup(encryption_key);
    if (encryption_key == NULL && key_file_read(key_file, &text, err) == 0) {
        text = key_file_generate(key_file, err);
        if (text != NULL) {
            log_info(NULL, "encryption key generated in `%s`: back it up together with the database", key_file);
        }
    } else if (encryption_key != NULL && text == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct vault *vault = text == NULL ? NULL : vault_new(text, encryption_key == NULL ? key_file : NULL, err);
    size_t length = 0;
    cleanup_free void *value = vault == NULL ? NULL : vault_check_value(vault, &length, err);
    if (value == NULL || !store_set_property(store, VAULT_CHECK_NAME, value, length, err)) {
        vault_close(vault);
        return NULL;
    }
    return vault;
}

struct vault *vault_open(struct store *store, const char *encryption_key, const char *key_file, struct error *err) {
    cleanup_free void *value = NULL;
    struct check check = {0};
    int found = store_get_property(store, VAULT_CHECK_NAME, &value, &check.length, err);
    check.value = value;
    if (found < 0) {
        return NULL;
    }
    if (found == 0) {
        return open_first(store, encryption_key, key_file, err);
    }
    return encryption_key != NULL ? open_setting(encryption_key, key_file, &check, err)
                                  : open_either_file(key_file, &check, err);
}

void vault_close(struct vault *vault) {
    if (vault != NULL) {
        free(vault->key_file);
        explicit_bzero(vault, sizeof *vault);
        free(vault);
    }
}

void *vault_check_value(const struct vault *vault, size_t *length, struct error *err) {
    return vault_seal(vault, VAULT_CHECK_NAME, CHECK_TEXT, length, err);
}

/* --- another key ----------------------------------------------------------------------------------------------------
 */

/* A rename that failed after the last change is made up for; a file that somebody else changed is left alone. */
static bool settle_files(const struct vault *vault, struct error *err) {
    struct vault *found = NULL;
    struct check check = {0};
    cleanup_free void *value = vault_check_value(vault, &check.length, err);
    check.value = value;
    if (value == NULL) {
        return false;
    }
    found = open_either_file(vault->key_file, &check, err);
    vault_close(found);
    return found != NULL;
}

struct vault *vault_successor(const struct vault *vault, const char *new_key, struct error *err) {
    if (vault->key_file == NULL) {
        if (new_key == NULL || new_key[0] == '\0') {
            error_set(
                err, ERROR_INVALID,
                "the key is in TERMINALS_ENCRYPTION_KEY, so only you can change it: stop Terminals, run `terminals db "
                "rotate-key --new-key-file FILE`, and start it with the new key");
            return NULL;
        }
        return vault_new(new_key, NULL, err);
    }
    if (new_key != NULL) {
        error_set(err, ERROR_INVALID, "the key is in `%s`, and the next one is generated: no key can be given",
                  vault->key_file);
        return NULL;
    }
    cleanup_free char *next = settle_files(vault, err) ? key_file_next(vault->key_file, err) : NULL;
    cleanup_secret char *text = next == NULL ? NULL : key_file_generate(next, err);
    return text == NULL ? NULL : vault_new(text, vault->key_file, err);
}

bool vault_succeed(struct vault *vault, const struct vault *successor, struct error *err) {
    memcpy(vault->key, successor->key, sizeof vault->key);
    return vault->key_file == NULL || key_file_replace(vault->key_file, err);
}

void vault_abandon(const struct vault *successor) {
    cleanup_free char *next = successor->key_file == NULL ? NULL : key_file_next(successor->key_file, NULL);
    if (next != NULL) {
        unlink(next);
    }
}
