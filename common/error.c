#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

static const struct {
    enum error_code code;
    const char *name;
    int http_status;
} codes[] = {
    {ERROR_NONE, "none", 200},
    {ERROR_INVALID, "invalid", 400},
    {ERROR_UNAUTHORIZED, "unauthorized", 401},
    {ERROR_FORBIDDEN, "forbidden", 403},
    {ERROR_NOT_FOUND, "not_found", 404},
    {ERROR_CONFLICT, "conflict", 409},
    {ERROR_TOO_LARGE, "too_large", 413},
    {ERROR_UNPROCESSABLE, "unprocessable", 422},
    {ERROR_TOO_MANY, "too_many", 429},
    {ERROR_BACKEND, "backend", 502},
    {ERROR_CAPACITY, "capacity", 503},
    {ERROR_TIMEOUT, "timeout", 504},
    {ERROR_INTERNAL, "internal", 500},
};

#define CODE_COUNT (sizeof codes / sizeof codes[0])

bool error_set(struct error *err, enum error_code code, const char *format, ...) {
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        err->code = code;
        err->told[0] = '\0';
        vsnprintf(err->message, sizeof err->message, format, arguments);
        va_end(arguments);
        text_make_utf8(err->message);
    }
    return false;
}

bool error_set_errno(struct error *err, enum error_code code, const char *format, ...) {
    int saved_errno = errno;
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        err->code = code;
        err->told[0] = '\0';
        vsnprintf(err->message, sizeof err->message, format, arguments);
        va_end(arguments);
        size_t used = strlen(err->message);
        char reason[128];
        snprintf(err->message + used, sizeof err->message - used, ": %s",
                 strerror_r(saved_errno, reason, sizeof reason));
        text_make_utf8(err->message);
    }
    errno = saved_errno;
    return false;
}

bool error_prefix(struct error *err, const char *format, ...) {
    if (err == NULL) {
        return false;
    }
    char prefix[sizeof err->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);

    char whole[2 * sizeof err->message + 2];
    snprintf(whole, sizeof whole, "%s: %s", prefix, err->message);
    memcpy(err->message, whole, sizeof err->message - 1);
    err->message[sizeof err->message - 1] = '\0';
    text_make_utf8(err->message);
    return false;
}

bool error_veil(struct error *err, const char *told) {
    if (err != NULL) {
        snprintf(err->told, sizeof err->told, "%s", told);
    }
    return false;
}

const char *error_for_clients(const struct error *err) {
    return err->told[0] != '\0' ? err->told : err->message;
}

const char *error_code_name(enum error_code code) {
    for (size_t i = 0; i < CODE_COUNT; i++) {
        if (codes[i].code == code) {
            return codes[i].name;
        }
    }
    return "internal";
}

enum error_code error_code_from_name(const char *name) {
    for (size_t i = 0; name != NULL && i < CODE_COUNT; i++) {
        if (strcmp(codes[i].name, name) == 0) {
            return codes[i].code;
        }
    }
    return ERROR_INTERNAL;
}

int error_code_http_status(enum error_code code) {
    for (size_t i = 0; i < CODE_COUNT; i++) {
        if (codes[i].code == code) {
            return codes[i].http_status;
        }
    }
    return 500;
}

const char *http_reason_phrase(int status) {
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "Unknown";
}
