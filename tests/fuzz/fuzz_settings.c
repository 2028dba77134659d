/* The settings file: whatever stands in `.env`, reading it ends with settings or with a message, and nothing else. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *const nothing[] = {NULL};
    char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    struct settings settings;
    struct error err = {0};
    if (settings_parse(&settings, nothing, text, NULL, &err)) {
        json_object_put(settings_to_json(&settings, ~0u));
        settings_free(&settings);
    } else if (err.code == ERROR_NONE || err.message[0] == '\0') {
        abort(); /* refused without a word */
    }
    free(text);
    return 0;
}
