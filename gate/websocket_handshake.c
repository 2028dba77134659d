#include "gate/websocket_handshake.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "gate/head_rewrite.h"
#include "gate/query.h"
#include "gate/websocket_message.h"

#define KEY_BYTES       16
#define TERMINAL_PREFIX "/api/terminals/"

/* Parameters of the query that are for us and never for an instance. */
static const char *const own_parameters[] = {"token", "user_id", "context_id", NULL};

bool websocket_is_upgrade(const struct http_head *head) {
    return http_head_lists(head, "Upgrade", "websocket") && http_head_lists(head, "Connection", "upgrade");
}

bool websocket_is_terminal(const struct http_head *head, struct span *session) {
    struct span query = head->target;
    struct span path;
    if (!span_take(&query, '?', &path)) {
        return false;
    }
    size_t prefix = strlen(TERMINAL_PREFIX);
    if (path.length <= prefix || memcmp(path.bytes, TERMINAL_PREFIX, prefix) != 0 ||
        memchr(path.bytes + prefix, '/', path.length - prefix) != NULL) {
        return false;
    }
    *session = (struct span){path.bytes + prefix, path.length - prefix};
    return true;
}

/* Base64 of 16 bytes: 22 characters of the alphabet and `==`. */
static bool is_key(struct span key) {
    if (key.length != WEBSOCKET_KEY_SIZE - 1 || memcmp(key.bytes + 22, "==", 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        unsigned char character = (unsigned char)key.bytes[i];
        if (!(isalnum(character) && character < 0x80) && character != '+' && character != '/') {
            return false;
        }
    }
    return true;
}

bool websocket_check_request(const struct http_head *head, int *status, struct error *err) {
    *status = 400;
    if (!span_equals(head->method, "GET") || !span_equals(head->version, "HTTP/1.1") || head->body != HTTP_BODY_NONE) {
        return error_set(err, ERROR_INVALID, "A WebSocket opens with a GET of HTTP/1.1 without a body");
    }
    if (http_head_count(head, "Sec-WebSocket-Key") != 1 || !is_key(http_head_value(head, "Sec-WebSocket-Key"))) {
        return error_set(err, ERROR_INVALID, "Malformed Sec-WebSocket-Key");
    }
    if (http_head_count(head, "Sec-WebSocket-Version") != 1 ||
        !span_equals(http_head_value(head, "Sec-WebSocket-Version"), "13")) {
        *status = 426;
        return error_set(err, ERROR_INVALID, "Only WebSocket version 13 is supported");
    }
    return true;
}

/* §4.2.2, 5.4: base64(SHA-1(key + a constant)). */
static bool accept_for(const char *key, size_t key_length, char accept[WEBSOCKET_ACCEPT_SIZE]) {
    static const char constant[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[WEBSOCKET_KEY_SIZE + sizeof constant];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_length = 0;
    memcpy(text, key, key_length);
    memcpy(text + key_length, constant, sizeof constant - 1);
    if (EVP_Digest(text, key_length + sizeof constant - 1, digest, &digest_length, EVP_sha1(), NULL) != 1) {
        return false;
    }
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_length);
    return true;
}

bool websocket_append_accept(struct buffer *out, const struct http_head *head) {
    struct span key = http_head_value(head, "Sec-WebSocket-Key");
    char accept[WEBSOCKET_ACCEPT_SIZE];
    return is_key(key) && accept_for(key.bytes, key.length, accept) &&
           buffer_append_format(out,
                                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: %s\r\n\r\n",
                                accept);
}

static bool read_authorization(struct websocket_claims *claims, const struct http_head *head, struct error *err) {
    if (http_head_count(head, "Authorization") > 0) {
        return true; /* the head's own, all of them, go to the authorizer as they are */
    }
    cleanup_secret char *token = NULL;
    struct error problem = {0};
    if (!query_parameter(head->target, "token", &token, &problem)) {
        return error_set(err, problem.code == ERROR_INTERNAL ? ERROR_INTERNAL : ERROR_UNAUTHORIZED, "Invalid token");
    }
    if (token == NULL) {
        return true;
    }
    if (!token_is_sane(token)) {
        return error_set(err, ERROR_UNAUTHORIZED, "Invalid token");
    }
    return asprintf(&claims->authorization, "Bearer %s", token) >= 0 || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* What a header says, or, since a browser can give a WebSocket none, the query: *name, only if no header says it. */
static bool read_name(const struct http_head *head, const char *parameter, const char *header, char **name,
                      struct error *err) {
    cleanup_free char *value = NULL;
    if (!query_parameter(head->target, parameter, &value, err)) {
        return false;
    }
    if (value == NULL) {
        return true;
    }
    if (http_head_count(head, header) > 0) {
        return span_equals(http_head_value(head, header), value) ||
               error_set(err, ERROR_INVALID, "%s and %s differ", header, parameter);
    }
    *name = steal_pointer(&value);
    return true;
}

bool websocket_read_claims(struct websocket_claims *claims, const struct http_head *head, struct error *err) {
    *claims = (struct websocket_claims){0};
    if (!read_authorization(claims, head, err) || !read_name(head, "user_id", "X-User-Id", &claims->user_id, err) ||
        !read_name(head, "context_id", "X-Terminal-Context-Id", &claims->context_id, err)) {
        websocket_claims_free(claims);
        return false;
    }
    return true;
}

void websocket_claims_free(struct websocket_claims *claims) {
    secret_free(claims->authorization);
    free(claims->user_id);
    free(claims->context_id);
    *claims = (struct websocket_claims){0};
}

bool websocket_append_target(struct buffer *out, const struct http_head *head) {
    return query_append_without(out, head->target, own_parameters);
}

bool websocket_random_key(char key[WEBSOCKET_KEY_SIZE]) {
    unsigned char bytes[KEY_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return false;
    }
    EVP_EncodeBlock((unsigned char *)key, bytes, sizeof bytes);
    return true;
}

bool websocket_append_request(struct buffer *out, const struct http_head *head, const char *authority,
                              const char *key) {
    struct span host = http_head_value(head, "Host");
    if (host.length == 0) {
        host = (struct span){authority, strlen(authority)};
    }
    buffer_append_string(out, "GET ");
    websocket_append_target(out, head);
    buffer_append_string(out, " HTTP/1.1\r\nHost: ");
    buffer_append(out, host.bytes, host.length);
    buffer_append_string(out, "\r\n");
    head_append_passed_headers(out, head);
    buffer_append_format(out,
                         "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: %s\r\n\r\n",
                         key);
    return !out->failed;
}

bool websocket_check_answer(const struct http_head *answer, const char *key) {
    char accept[WEBSOCKET_ACCEPT_SIZE];
    return answer->status == 101 && accept_for(key, strlen(key), accept) &&
           http_head_lists(answer, "Upgrade", "websocket") && http_head_lists(answer, "Connection", "upgrade") &&
           http_head_count(answer, "Sec-WebSocket-Accept") == 1 &&
           span_equals(http_head_value(answer, "Sec-WebSocket-Accept"), accept) &&
           http_head_count(answer, "Sec-WebSocket-Extensions") == 0 &&
           http_head_count(answer, "Sec-WebSocket-Protocol") == 0;
}
