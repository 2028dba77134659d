#include "instance/websocket_handshake.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "instance/base64.h"
#include "instance/sha1.h"

#define KEY_LENGTH 24 /* base64 of 16 bytes */

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
    uint8_t digest[SHA1_SIZE];
    sha1(text, KEY_LENGTH + sizeof magic - 1, digest);
    base64_encode(digest, sizeof digest, accept);
    return true;
}

bool websocket_check_handshake(const struct http_request *request, char accept[WEBSOCKET_ACCEPT_SIZE],
                               char problem[WEBSOCKET_PROBLEM_SIZE]) {
    const char *key = http_header(request, "Sec-WebSocket-Key");
    const char *version = http_header(request, "Sec-WebSocket-Version");
    if (key == NULL) {
        strcpy(problem, "missing Sec-WebSocket-Key header; 'sec-websocket-key'");
    } else if (!websocket_accept_value(key, accept)) {
        snprintf(problem, WEBSOCKET_PROBLEM_SIZE, "invalid Sec-WebSocket-Key header: %s", key);
    } else if (version == NULL) {
        strcpy(problem, "missing Sec-WebSocket-Version header; 'sec-websocket-version'");
    } else if (strcmp(version, "13") != 0) {
        snprintf(problem, WEBSOCKET_PROBLEM_SIZE, "invalid Sec-WebSocket-Version header: %s", version);
    } else {
        return true;
    }
    return false;
}

void websocket_refuse(struct http_request *request, int status, const char *text) {
    struct buffer body = {0};
    buffer_append_string(&body, text);
    http_add_header(request, "Connection", "close");
    http_respond_buffer(request, status, "text/plain", &body);
}
