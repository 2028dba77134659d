#include "instance/terminal_message.h"

#include <string.h>

#include "common/json.h"
#include "common/secret.h"

static bool is_of_type(struct json_object *message, const char *type) {
    const char *value = json_get_string(message, "type");
    return value != NULL && strcmp(value, type) == 0;
}

enum terminal_auth terminal_message_check_auth(const char *text, size_t length, const char *api_key) {
    cleanup_json struct json_object *message = json_parse_object(text, length, NULL);
    const char *token = message != NULL && is_of_type(message, "auth") ? json_get_string(message, "token") : NULL;
    if (token == NULL) {
        return TERMINAL_AUTH_NO_MESSAGE;
    }
    return secret_equals(token, api_key) ? TERMINAL_AUTH_FINE : TERMINAL_AUTH_WRONG_KEY;
}

static bool read_size(struct json_object *message, const char *name, unsigned short *size) {
    int64_t value = json_get_int(message, name, 0);
    if (value < 1 || value > 65535) {
        return false;
    }
    *size = (unsigned short)value;
    return true;
}

bool terminal_message_parse_resize(const char *text, size_t length, unsigned short *rows, unsigned short *columns) {
    cleanup_json struct json_object *message = json_parse_object(text, length, NULL);
    return message != NULL && is_of_type(message, "resize") && read_size(message, "rows", rows) &&
           read_size(message, "cols", columns);
}
