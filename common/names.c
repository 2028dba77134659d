#include "common/names.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define PLAIN_NAME_MAX_BYTES 128
#define HASH_PREFIX_LENGTH   12

static bool has_control_character(const char *text) {
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

bool name_check_user_id(const char *user_id, struct error *err) {
    if (user_id == NULL || user_id[0] == '\0') {
        return error_set(err, ERROR_UNPROCESSABLE, "X-User-Id is missing or empty");
    }
    if (strnlen(user_id, NAME_USER_ID_MAX_BYTES + 1) > NAME_USER_ID_MAX_BYTES) {
        return error_set(err, ERROR_INVALID, "X-User-Id is longer than %d bytes", NAME_USER_ID_MAX_BYTES);
    }
    if (has_control_character(user_id)) {
        return error_set(err, ERROR_INVALID, "X-User-Id has a control character");
    }
    if (!text_is_utf8(user_id)) {
        return error_set(err, ERROR_INVALID, "X-User-Id is not UTF-8");
    }
    return true;
}

bool name_check_policy_id(const char *policy_id, struct error *err) {
    size_t length = policy_id == NULL ? 0 : strnlen(policy_id, NAME_POLICY_MAX_BYTES + 1);
    bool good = length > 0 && length <= NAME_POLICY_MAX_BYTES && policy_id[0] != '-' && policy_id[length - 1] != '-' &&
                strspn(policy_id, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
    return good || error_set(err, ERROR_INVALID, "a policy id has 1 to %d lower-case letters, digits and inner dashes",
                             NAME_POLICY_MAX_BYTES);
}

bool name_check_context_id(const char *context_id, struct error *err) {
    static const char *const kinds[] = {"chat:", "automation:"};
    if (context_id != NULL && strcmp(context_id, NAME_DEFAULT) == 0) {
        return true;
    }
    if (context_id != NULL && strnlen(context_id, NAME_CONTEXT_MAX_BYTES + 1) > NAME_CONTEXT_MAX_BYTES) {
        return error_set(err, ERROR_INVALID, "X-Terminal-Context-Id is longer than %d bytes", NAME_CONTEXT_MAX_BYTES);
    }
    if (context_id != NULL && !text_is_utf8(context_id)) {
        return error_set(err, ERROR_INVALID, "X-Terminal-Context-Id is not UTF-8");
    }
    for (size_t i = 0; context_id != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t prefix = strlen(kinds[i]);
        if (strncmp(context_id, kinds[i], prefix) == 0 && context_id[prefix] != '\0' &&
            !has_control_character(context_id)) {
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "X-Terminal-Context-Id must be `default`, `chat:<id>` or `automation:<id>`");
}

const char *name_or_default(const char *name) {
    return name == NULL || name[0] == '\0' ? NAME_DEFAULT : name;
}

bool name_route_key(const char *user_id, const char *policy_id, const char *context_id, char out[DIGEST_HEX_SIZE]) {
    char text[NAME_POLICY_MAX_BYTES + NAME_CONTEXT_MAX_BYTES + NAME_USER_ID_MAX_BYTES + 3];
    int length = snprintf(text, sizeof text, "%s\n%s\n%s", policy_id, context_id, user_id);
    return length > 0 && (size_t)length < sizeof text && digest_sha256_hex(text, (size_t)length, out);
}

/* `u-<64 hex>`, in either case: what the folder of a hashed id looks like. */
static bool looks_hashed(const char *user_id) {
    return strncmp(user_id, "u-", 2) == 0 && strlen(user_id) == 2 + DIGEST_HEX_LENGTH &&
           strspn(user_id + 2, "0123456789abcdefABCDEF") == DIGEST_HEX_LENGTH;
}

static bool is_plain_name(const char *user_id) {
    size_t length = strlen(user_id);
    if (length == 0 || length > PLAIN_NAME_MAX_BYTES || user_id[0] == '.' || looks_hashed(user_id)) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        /* Not isalnum() on what a locale may call a letter. */
        bool plain = (user_id[i] >= 'a' && user_id[i] <= 'z') || (user_id[i] >= 'A' && user_id[i] <= 'Z') ||
                     (user_id[i] >= '0' && user_id[i] <= '9') || strchr("._@-", user_id[i]) != NULL;
        if (!plain) {
            return false;
        }
    }
    return true;
}

bool name_user_folder(const char *user_id, char out[NAME_FOLDER_SIZE]) {
    if (is_plain_name(user_id)) {
        snprintf(out, NAME_FOLDER_SIZE, "%s", user_id);
        return true;
    }
    char digest[DIGEST_HEX_SIZE];
    if (!digest_sha256_hex_lower(user_id, strlen(user_id), digest)) {
        return false;
    }
    snprintf(out, NAME_FOLDER_SIZE, "u-%s", digest);
    return true;
}

bool name_home_folder(const char *user_id, const char *policy_id, const char *context_id, char out[NAME_FOLDER_SIZE]) {
    char user[NAME_FOLDER_SIZE];
    if (!name_user_folder(user_id, user)) {
        return false;
    }
    bool default_policy = strcmp(policy_id, NAME_DEFAULT) == 0;
    if (strcmp(context_id, NAME_DEFAULT) == 0) {
        int length = default_policy ? snprintf(out, NAME_FOLDER_SIZE, "%s", user)
                                    : snprintf(out, NAME_FOLDER_SIZE, ".policies/%s/%s", user, policy_id);
        return length > 0 && length < NAME_FOLDER_SIZE;
    }
    char digest[DIGEST_HEX_SIZE];
    if (!digest_sha256_hex_lower(context_id, strlen(context_id), digest)) {
        return false;
    }
    /* A context of another policy is a folder of its own too: policies have different images and rights. */
    int length = snprintf(out, NAME_FOLDER_SIZE, ".contexts/%s/%.*s%s%s", user, HASH_PREFIX_LENGTH, digest,
                          default_policy ? "" : "-", default_policy ? "" : policy_id);
    return length > 0 && length < NAME_FOLDER_SIZE;
}

bool name_instance(const char *user_id, const char *policy_id, const char *context_id, char out[NAME_FOLDER_SIZE]) {
    char user[DIGEST_HEX_SIZE];
    char context[DIGEST_HEX_SIZE];
    if (!digest_sha256_hex_lower(user_id, strlen(user_id), user) ||
        !digest_sha256_hex_lower(context_id, strlen(context_id), context)) {
        return false;
    }
    bool default_policy = strcmp(policy_id, NAME_DEFAULT) == 0;
    bool default_context = strcmp(context_id, NAME_DEFAULT) == 0;
    int length = snprintf(out, NAME_FOLDER_SIZE, "terminals-%.*s%s%s%s%.*s", HASH_PREFIX_LENGTH, user,
                          default_policy ? "" : "-", default_policy ? "" : policy_id, default_context ? "" : "-",
                          default_context ? 0 : HASH_PREFIX_LENGTH, context);
    return length > 0 && length < NAME_FOLDER_SIZE;
}
