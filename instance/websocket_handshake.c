#include "instance/websocket_handshake.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "instance/sha1.h"

#define KEY_LENGTH 24 /* base64 of 16 bytes */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool websocket_header_has_token(const char *value, const char *token) {
    size_t token_length = strlen(token);
    while (*value != '\0') {
        value += strspn(value, ", \t");
        size_t length = strcspn(value, ", \t");
        if (length == token_length && strncasecmp(value, token, length) == 0) {
            return true;
        }
        value += length;
    }
    return false;
}

bool websocket_is_asked_for(const struct http_request *request) {
    const char *upgrade = http_header(request, "Upgrade");
    const char *connection = upgrade != NULL ? http_header(request, "Connection") : NULL;
    return connection != NULL && websocket_header_has_token(upgrade, "websocket") &&
           websocket_header_has_token(connection, "upgrade");
}

bool websocket_accept_value(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]) {
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 §4.2.2 */
    if (strlen(key) != KEY_LENGTH || strspn(key, base64_digits) != KEY_LENGTH - 2 || strcmp(key + 22, "==") != 0) {
        return false;
    }
    char text[KEY_LENGTH + sizeof magic];
    memcpy(text, key, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, magic, sizeof magic);
    uint8_t digest[SHA1_SIZE + 1] = {0}; /* one more byte makes whole groups of three */
    sha1(text, KEY_LENGTH + sizeof magic - 1, digest);
    char *out = accept;
    for (size_t i = 0; i < SHA1_SIZE; i += 3) {
        uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            *out++ = base64_digits[group >> shift & 0x3f];
        }
    }
    accept[WEBSOCKET_ACCEPT_SIZE - 2] = '=';
    accept[WEBSOCKET_ACCEPT_SIZE - 1] = '\0';
    return true;
}

const char *websocket_check_handshake(const struct http_request *request, char accept[WEBSOCKET_ACCEPT_SIZE]) {
    const char *version = http_header(request, "Sec-WebSocket-Version");
    const char *key = http_header(request, "Sec-WebSocket-Key");
    if (version == NULL || strcmp(version, "13") != 0) {
        return "invalid Sec-WebSocket-Version header: expected 13";
    }
    if (key == NULL) {
        return "missing Sec-WebSocket-Key header";
    }
    return websocket_accept_value(key, accept) ? NULL : "invalid Sec-WebSocket-Key header";
}
