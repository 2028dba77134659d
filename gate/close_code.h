/* close_code.h - why a terminal's WebSocket is closed, as Open WebUI knows it (RFC 6455 §7.4.2: 4000 to 4999 are
 * private). */
#ifndef TERMINALS_GATE_CLOSE_CODE_H
#define TERMINALS_GATE_CLOSE_CODE_H

#include "common/error.h"

enum close_code {
    CLOSE_NORMAL = 1000,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_PROTOCOL_ERROR = 1002,
    CLOSE_TOO_MANY = 1013,    /* "Try Again Later" of IANA's registry: the user has as many open as allowed */
    CLOSE_BAD_AUTH = 4001,    /* bad or late authentication */
    CLOSE_NO_USER = 4002,     /* nobody says whose terminal it is */
    CLOSE_NOT_ALLOWED = 4003, /* not allowed, or the instance is not reachable */
    CLOSE_NO_SESSION = 4004,  /* no such session, or its instance is not running */
};

/* From the authorizer's answer; from what went wrong on our side or the provisioner's; from the instance's answer to
 * our handshake. */
enum close_code close_code_from_authorizer_status(int status);
enum close_code close_code_from_error(enum error_code code);
enum close_code close_code_from_instance_status(int status);

/* A few words for the close frame. */
const char *close_code_reason(enum close_code code);

#endif
