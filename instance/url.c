#include "instance/url.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t url_decode(const char *text, size_t length, bool plus_is_space, char *out) {
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '%' && length - i > 2 && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
            c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return used;
}

static size_t count_parameters(const char *text) {
    size_t count = 1;
    for (; *text != '\0'; text++) {
        count += *text == '&';
    }
    return count;
}

bool url_query_parse(const char *text, struct url_query *query) {
    *query = (struct url_query){0};
    if (*text == '\0') {
        return true;
    }
    query->parameters = calloc(count_parameters(text), sizeof *query->parameters);
    query->storage = strdup(text);
    if (query->parameters == NULL || query->storage == NULL) {
        url_query_free(query);
        return false;
    }
    for (char *next = query->storage; next != NULL;) {
        char *part = next;
        next = strchr(part, '&');
        size_t length = next != NULL ? (size_t)(next++ - part) : strlen(part);
        if (length == 0) {
            continue;
        }
        char *equals = memchr(part, '=', length);
        size_t name_length = equals != NULL ? (size_t)(equals - part) : length;
        struct url_parameter *parameter = &query->parameters[query->count++];
        parameter->name = part;
        if (equals != NULL) {
            parameter->value = equals + 1;
            parameter->value_length = url_decode(equals + 1, length - name_length - 1, true, equals + 1);
        } else {
            parameter->value = "";
        }
        url_decode(part, name_length, true, part);
    }
    return true;
}

void url_query_free(struct url_query *query) {
    free(query->parameters);
    free(query->storage);
    *query = (struct url_query){0};
}
