#include "gate/query.h"

#include <stdlib.h>

#include "common/cleanup.h"

static int hex_digit(char character) {
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* Decodes into a new string; a `%` without two hex digits stays as it is. NULL: no memory. */
static char *decode(struct span text, size_t *length) {
    char *out = malloc(text.length + 1);
    if (out == NULL) {
        return NULL;
    }
    *length = 0;
    for (size_t i = 0; i < text.length; i++) {
        char character = text.bytes[i];
        if (character == '%' && i + 2 < text.length && hex_digit(text.bytes[i + 1]) >= 0 &&
            hex_digit(text.bytes[i + 2]) >= 0) {
            character = (char)(hex_digit(text.bytes[i + 1]) * 16 + hex_digit(text.bytes[i + 2]));
            i += 2;
        } else if (character == '+') {
            character = ' ';
        }
        out[(*length)++] = character;
    }
    out[*length] = '\0';
    return out;
}

/* Splits the target into the path and the query (a NULL span if there is none). */
static struct span split_query(struct span target, struct span *path) {
    struct span rest = target;
    span_take(&rest, '?', path);
    return rest;
}

/* Whether a `name=value` of the query is called `name`. *failed is set when memory runs out. */
static bool is_called(struct span parameter, const char *name, struct span *value, bool *failed) {
    struct span encoded_name;
    *value = parameter;
    span_take(value, '=', &encoded_name);
    size_t length = 0;
    cleanup_free char *decoded = decode(encoded_name, &length);
    *failed |= decoded == NULL;
    return decoded != NULL && strlen(name) == length && memcmp(decoded, name, length) == 0;
}

bool query_parameter(struct span target, const char *name, char **value, struct error *err) {
    *value = NULL;
    struct span path = {0};
    struct span rest = split_query(target, &path);
    struct span parameter;
    cleanup_free char *found = NULL;
    bool failed = false;
    while (span_take(&rest, '&', &parameter)) {
        struct span encoded;
        if (!is_called(parameter, name, &encoded, &failed)) {
            continue;
        }
        size_t length = 0;
        cleanup_free char *decoded = decode(encoded.bytes == NULL ? (struct span){"", 0} : encoded, &length);
        if (decoded == NULL) {
            failed = true;
            break;
        }
        if (strlen(decoded) != length) {
            return error_set(err, ERROR_INVALID, "`%s` in the query holds a NUL", name);
        }
        if (found != NULL && strcmp(found, decoded) != 0) {
            return error_set(err, ERROR_INVALID, "`%s` is in the query with different values", name);
        }
        free(found);
        found = steal_pointer(&decoded);
    }
    if (failed) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    *value = steal_pointer(&found);
    return true;
}

bool query_append_without(struct buffer *out, struct span target, const char *const *names) {
    struct span path = {0};
    struct span rest = split_query(target, &path);
    struct span parameter;
    char separator = '?';
    bool failed = !buffer_append(out, path.bytes, path.length);
    while (span_take(&rest, '&', &parameter)) {
        bool is_dropped = false;
        for (size_t i = 0; names[i] != NULL && !is_dropped; i++) {
            struct span value;
            is_dropped = is_called(parameter, names[i], &value, &failed);
        }
        if (!is_dropped) {
            buffer_append(out, &separator, 1);
            buffer_append(out, parameter.bytes, parameter.length);
            separator = '&';
        }
    }
    return !failed && !out->failed;
}
