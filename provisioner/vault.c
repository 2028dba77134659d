#include "provisioner/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/secret.h"

#define BOX_VERSION        1
#define NONCE_BYTES        12
#define TAG_BYTES          16
#define BOX_OVERHEAD       (1 + NONCE_BYTES + TAG_BYTES)
#define KEY_FILE_MAX_BYTES 4096
#define GENERATED_BYTES    32
#define SECRET_MAX_BYTES   (64 * 1024)

#define CHECK_NAME "encryption_key_check"
#define CHECK_TEXT "terminals"

struct vault {
    unsigned char key[SHA256_DIGEST_LENGTH];
};

static void cipher_cleanup_function(EVP_CIPHER_CTX **context) {
    EVP_CIPHER_CTX_free(*context);
}
#define cleanup_cipher __attribute__((cleanup(cipher_cleanup_function)))

void *vault_seal(struct vault *vault, const char *id, const char *secret, size_t *length, struct error *err) {
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

char *vault_unseal(struct vault *vault, const char *id, const void *box, size_t length, struct error *err) {
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

static bool read_file(int fd, const char *path, char content[KEY_FILE_MAX_BYTES + 1], struct error *err) {
    ssize_t length = read(fd, content, KEY_FILE_MAX_BYTES);
    if (length < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
    }
    content[length] = '\0';
    content[strcspn(content, "\r\n")] = '\0';
    return content[0] != '\0' ||
           error_set(err, ERROR_INTERNAL, "`%s` holds no encryption key: put back what was in it", path);
}

/* Reads the key file. 1, 0 if there is none, -1 with *err. */
static int read_key_file(const char *path, char **text, struct error *err) {
    char content[KEY_FILE_MAX_BYTES + 1];
    struct stat status;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return 0;
    }
    if (fd < 0 || fstat(fd, &status) < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
        return -1;
    }
    if (!read_file(fd, path, content, err)) {
        return -1;
    }
    if ((status.st_mode & 077) != 0) {
        log_warning(NULL, "`%s` can be read by others than its owner (mode %03o): chmod 600 it", path,
                    (unsigned)status.st_mode & 0777);
    }
    *text = strdup(content);
    explicit_bzero(content, sizeof content);
    if (*text == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return -1;
    }
    return 1;
}

static bool write_durably(int fd, const char *text, const char *path, struct error *err) {
    size_t length = strlen(text);
    if (write(fd, text, length) != (ssize_t)length || fsync(fd) < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
    }
    return true;
}

/* Generates the key file, whole or not at all: written beside it, then renamed. */
static bool generate_key_file(const char *path, char **text, struct error *err) {
    cleanup_buffer struct buffer temporary = {0};
    cleanup_secret char *content = calloc(1, 2 * GENERATED_BYTES + 2);
    if (content == NULL || !buffer_append_format(&temporary, "%s.new", path)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!digest_random_hex(GENERATED_BYTES, content)) {
        return error_set(err, ERROR_INTERNAL, "the kernel gives no random bytes");
    }
    content[2 * GENERATED_BYTES] = '\n';
    cleanup_close int fd = open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "create `%s`", temporary.data);
    }
    if (!write_durably(fd, content, temporary.data, err)) {
        unlink(temporary.data);
        return false;
    }
    if (rename(temporary.data, path) < 0) {
        error_set_errno(err, ERROR_INTERNAL, "rename `%s` to `%s`", temporary.data, path);
        unlink(temporary.data);
        return false;
    }
    content[2 * GENERATED_BYTES] = '\0';
    *text = steal_pointer(&content);
    log_info(NULL, "encryption key generated in `%s`: back it up together with the database", path);
    return true;
}

/* The text that the key is made of; NULL with *err. */
static char *key_text(const char *encryption_key, const char *key_file, bool database_has_check, struct error *err) {
    char *text = NULL;
    if (encryption_key != NULL) {
        text = strdup(encryption_key);
        if (text == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        return text;
    }
    int found = read_key_file(key_file, &text, err);
    if (found == 0 && database_has_check) {
        error_set(err, ERROR_CONFLICT,
                  "the database holds keys that were encrypted, but there is no `%s`: put it back, or set "
                  "TERMINALS_ENCRYPTION_KEY to what it was",
                  key_file);
    } else if (found == 0) {
        generate_key_file(key_file, &text, err);
    }
    return text;
}

static bool check_key(struct vault *vault, struct store *store, const void *check, size_t check_length,
                      const char *source, struct error *err) {
    if (check == NULL) {
        size_t length = 0;
        cleanup_free void *box = vault_seal(vault, CHECK_NAME, CHECK_TEXT, &length, err);
        return box != NULL && store_set_property(store, CHECK_NAME, box, length, err);
    }
    cleanup_secret char *text = vault_unseal(vault, CHECK_NAME, check, check_length, NULL);
    if (!secret_equals(text, CHECK_TEXT)) {
        return error_set(err, ERROR_CONFLICT,
                         "%s is not the encryption key that this database was written with: set the former key again, "
                         "or use another database",
                         source);
    }
    return true;
}

struct vault *vault_open(struct store *store, const char *encryption_key, const char *key_file, struct error *err) {
    cleanup_free void *check = NULL;
    size_t check_length = 0;
    int found = store_get_property(store, CHECK_NAME, &check, &check_length, err);
    cleanup_secret char *text = found < 0 ? NULL : key_text(encryption_key, key_file, found > 0, err);
    if (text == NULL) {
        return NULL;
    }
    struct vault *vault = calloc(1, sizeof *vault);
    if (vault == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    SHA256((const unsigned char *)text, strlen(text), vault->key);
    if (!check_key(vault, store, check, check_length, encryption_key != NULL ? "TERMINALS_ENCRYPTION_KEY" : key_file,
                   err)) {
        vault_close(vault);
        return NULL;
    }
    return vault;
}

void vault_close(struct vault *vault) {
    if (vault != NULL) {
        explicit_bzero(vault, sizeof *vault);
        free(vault);
    }
}
