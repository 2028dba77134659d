#include "gate/close_code.h"

#include <stddef.h>

struct row {
    int from;
    enum close_code to;
};

static enum close_code find(const struct row *rows, size_t count, int from) {
    for (size_t i = 0; i < count; i++) {
        if (rows[i].from == from) {
            return rows[i].to;
        }
    }
    return CLOSE_NOT_ALLOWED;
}

enum close_code close_code_from_authorizer_status(int status) {
    static const struct row rows[] = {{401, CLOSE_BAD_AUTH}, {422, CLOSE_NO_USER}};
    return find(rows, sizeof rows / sizeof rows[0], status);
}

enum close_code close_code_from_error(enum error_code code) {
    static const struct row rows[] = {
        {ERROR_UNAUTHORIZED, CLOSE_BAD_AUTH},
        {ERROR_UNPROCESSABLE, CLOSE_NO_USER},
        {ERROR_NOT_FOUND, CLOSE_NO_SESSION},
    };
    return find(rows, sizeof rows / sizeof rows[0], (int)code);
}

enum close_code close_code_from_instance_status(int status) {
    static const struct row rows[] = {{403, CLOSE_NO_SESSION}, {404, CLOSE_NO_SESSION}};
    return find(rows, sizeof rows / sizeof rows[0], status);
}

const char *close_code_reason(enum close_code code) {
    switch (code) {
    case CLOSE_NORMAL:
        return "";
    case CLOSE_GOING_AWAY:
        return "Going away";
    case CLOSE_PROTOCOL_ERROR:
        return "Protocol error";
    case CLOSE_TOO_MANY:
        return "Too many terminals are open";
    case CLOSE_BAD_AUTH:
        return "Authentication failed";
    case CLOSE_NO_USER:
        return "No user";
    case CLOSE_NOT_ALLOWED:
        return "Not allowed or instance not reachable";
    case CLOSE_NO_SESSION:
        return "No such session";
    }
    return "";
}
