#include "gate/authorizer_answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "gate/span.h"

/* Takes a header line off *rest; CGI programs end lines with LF or CRLF (RFC 3875 §6.3 leaves it to the system). */
static bool take_line(struct span *rest, struct span *line) {
    if (rest->length == 0 || memchr(rest->bytes, '\n', rest->length) == NULL) {
        return false;
    }
    span_take(rest, '\n', line);
    if (line->length > 0 && line->bytes[line->length - 1] == '\r') {
        line->length--;
    }
    return true;
}

static bool is_plain(struct span value) {
    for (size_t i = 0; i < value.length; i++) {
        unsigned char character = (unsigned char)value.bytes[i];
        if (character < ' ' || character == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool parse_status(struct span value, int *status) {
    if (value.length < 3 || (value.length > 3 && value.bytes[3] != ' ')) {
        return false;
    }
    int number = 0;
    for (size_t i = 0; i < 3; i++) {
        if (!isdigit((unsigned char)value.bytes[i])) {
            return false;
        }
        number = number * 10 + (value.bytes[i] - '0');
    }
    *status = number;
    return number == 200 || (number >= 400 && number <= 599);
}

/* Stores one header. A header that comes twice is as wrong as one that cannot be read. */
static bool take_header(struct authorizer_answer *answer, struct span line, struct error *err) {
    const struct {
        const char *name;
        char **target;
    } wanted[] = {
        {"Variable-User", &answer->user},       {"Variable-Policy", &answer->policy},
        {"Variable-Context", &answer->context}, {"WWW-Authenticate", &answer->www_authenticate},
        {"Retry-After", &answer->retry_after},
    };
    struct span name;
    if (!span_take(&line, ':', &name) || line.bytes == NULL || !is_plain(line)) {
        return error_set(err, ERROR_BACKEND, "the authorizer sent a malformed header");
    }
    /* Only the one space after the colon is not part of the value: a user id may start or end with spaces, and `a ` is
     * not `a`. */
    if (line.length > 0 && line.bytes[0] == ' ') {
        line.bytes++;
        line.length--;
    }
    if (span_equals_ignoring_case(name, "Status")) {
        return (answer->status == 0 && parse_status(line, &answer->status)) ||
               error_set(err, ERROR_BACKEND, "the authorizer sent a malformed status");
    }
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!span_equals_ignoring_case(name, wanted[i].name)) {
            continue;
        }
        if (*wanted[i].target != NULL) {
            return error_set(err, ERROR_BACKEND, "the authorizer sent %s twice", wanted[i].name);
        }
        *wanted[i].target = strndup(line.bytes, line.length);
        if (*wanted[i].target == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        /* It goes on into an IPC line, and JSON is UTF-8: anything else would cost us the provisioner's connection. */
        return text_is_utf8(*wanted[i].target) ||
               error_set(err, ERROR_BACKEND, "the authorizer's %s is no UTF-8", wanted[i].name);
    }
    return true;
}

static bool take_body(struct authorizer_answer *answer, struct span rest, struct error *err) {
    answer->body = malloc(rest.length + 1);
    if (answer->body == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (rest.length > 0) {
        memcpy(answer->body, rest.bytes, rest.length);
    }
    answer->body[rest.length] = '\0';
    answer->body_length = rest.length;
    return true;
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool parse(struct authorizer_answer *answer, struct span rest, struct error *err) {
    struct span line;
    while (take_line(&rest, &line)) {
        if (line.length > 0) {
            if (!take_header(answer, line, err)) {
                return false;
            }
            continue;
        }
        if (answer->status == 0) {
            return error_set(err, ERROR_BACKEND, "the authorizer's answer has no status");
        }
        if (answer->status == 200 && !(is_set(answer->user) && is_set(answer->policy) && is_set(answer->context))) {
            return error_set(err, ERROR_BACKEND, "the authorizer's answer names no user, policy or context");
        }
        return take_body(answer, rest, err);
    }
    return error_set(err, ERROR_BACKEND, "the authorizer's answer is cut short");
}

bool authorizer_answer_parse(struct authorizer_answer *answer, const char *text, size_t length, struct error *err) {
    *answer = (struct authorizer_answer){0};
    if (!parse(answer, (struct span){text, length}, err)) {
        authorizer_answer_free(answer);
        return false;
    }
    return true;
}

void authorizer_answer_free(struct authorizer_answer *answer) {
    free(answer->user);
    free(answer->policy);
    free(answer->context);
    free(answer->www_authenticate);
    free(answer->retry_after);
    free(answer->body);
    *answer = (struct authorizer_answer){0};
}
