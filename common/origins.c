#include "common/origins.h"

#include <string.h>

#define SEPARATORS  ", \t"
#define LOWER       "abcdefghijklmnopqrstuvwxyz"
#define DIGITS      "0123456789"
#define IN_A_SCHEME LOWER DIGITS "+-."
#define IN_A_HOST   LOWER DIGITS "-._~[]:" /* IPv6 is in brackets, and the port is here, too */

static bool is_origin(const char *text, size_t length) {
    size_t scheme = strspn(text, IN_A_SCHEME);
    if (length == strlen("null") && strncmp(text, "null", length) == 0) {
        return true;
    }
    if (scheme == 0 || scheme + strlen("://") >= length || strncmp(text + scheme, "://", strlen("://")) != 0) {
        return false;
    }
    text += scheme + strlen("://");
    length -= scheme + strlen("://");
    return text[0] != ':' && text[length - 1] != ':' && strspn(text, IN_A_HOST) >= length;
}

bool origins_check(const char *list, struct error *err) {
    if (strcmp(list, "*") == 0) {
        return true;
    }
    while (*(list += strspn(list, SEPARATORS)) != '\0') {
        size_t length = strcspn(list, SEPARATORS);
        if (!is_origin(list, length)) {
            return error_set(err, ERROR_INVALID,
                             "`%.*s` is no origin (https://chat.example.com, in lower case and with nothing behind it)",
                             (int)(length < 100 ? length : 100), list);
        }
        list += length;
    }
    return true;
}
