#include "provisioner/backends/kubernetes_secret.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "provisioner/backend.h"
#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_pod.h"

#define KEY_MAX_BYTES (sizeof((struct instance_address *)0)->key - 1)

/* A secret's `data` are base64. */
static char *decode(const char *base64) {
    size_t length = base64 == NULL ? 0 : strlen(base64);
    if (length == 0 || length % 4 != 0 || length / 4 * 3 > KEY_MAX_BYTES + 2) {
        return NULL;
    }
    cleanup_secret char *text = calloc(1, length + 1);
    if (text == NULL || EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)base64, (int)length) < 0) {
        return NULL;
    }
    /* It goes into a header. */
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f) {
            return NULL;
        }
    }
    return text[0] == '\0' || strlen(text) > KEY_MAX_BYTES ? NULL : strdup(text);
}

/* Others call it otherwise. */
static const char *only_member(struct json_object *data) {
    struct json_object_iterator first = json_object_iter_begin(data);
    return json_object_object_length(data) == 1 ? json_object_iter_peek_name(&first) : NULL;
}

char *kubernetes_secret_key_of(struct json_object *secret, const char *name) {
    struct json_object *data = json_get_object(secret, "data");
    if (data == NULL) {
        return NULL;
    }
    if (name != NULL) {
        return decode(json_get_string(data, name));
    }
    static const char *const names[] = {KUBERNETES_SECRET_KEY, KUBERNETES_KEY_NAME};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (json_object_object_get_ex(data, names[i], NULL)) {
            return decode(json_get_string(data, names[i]));
        }
    }
    name = only_member(data);
    return name == NULL ? NULL : decode(json_get_string(data, name));
}
