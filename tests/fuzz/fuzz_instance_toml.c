// LINK: instance
/* A file of settings, which whoever owns the home folder writes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "instance/toml.h"

static bool check(void *state, const char *key, enum toml_kind kind, const char *text, struct error *err) {
    (void)err;
    size_t length = *(size_t *)state;
    if (strlen(key) > 2 * length || strlen(text) > 2 * length + 32 || kind > TOML_ARRAY) {
        abort();
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    if (!toml_parse((const char *)data, size, check, &size, &err) && err.message[0] == '\0') {
        abort();
    }
    return 0;
}
