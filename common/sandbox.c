#include "common/sandbox.h"

#include <string.h>

static bool is_token(const char *text, size_t length) {
    static const char *const tokens[] = {
        "allow-downloads",
        "allow-forms",
        "allow-modals",
        "allow-orientation-lock",
        "allow-pointer-lock",
        "allow-popups",
        "allow-popups-to-escape-sandbox",
        "allow-presentation",
        "allow-same-origin",
        "allow-scripts",
        "allow-storage-access-by-user-activation",
        "allow-top-navigation",
        "allow-top-navigation-by-user-activation",
        "allow-top-navigation-to-custom-protocols",
    };
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        if (strlen(tokens[i]) == length && memcmp(tokens[i], text, length) == 0) {
            return true;
        }
    }
    return false;
}

bool sandbox_check(const char *value, struct error *err) {
    if (strcmp(value, "off") == 0) {
        return true;
    }
    while (*(value += strspn(value, " ")) != '\0') {
        size_t length = strcspn(value, " ");
        if (!is_token(value, length)) {
            return error_set(err, ERROR_INVALID, "`%.*s` is neither `off` nor one of the words that `sandbox` knows",
                             (int)(length < 100 ? length : 100), value);
        }
        value += length;
    }
    return true;
}

bool sandbox_allows_origin(const char *value) {
    return strcmp(value, "off") == 0 || strstr(value, "allow-same-origin") != NULL;
}
