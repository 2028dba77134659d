// LINK: instance
/* What a client sends to an instance: request bodies, queries, input with escapes, messages of a shell's WebSocket, and
 * what a program behind /proxy answers. The first byte chooses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "instance/escapes.h"
#include "instance/http1.h"
#include "instance/http_body.h"
#include "instance/router.h"
#include "instance/terminal_message.h"
#include "instance/url.h"
#include "instance/websocket_handshake.h"

static void fuzz_json(const char *text, size_t length) {
    struct http_body_syntax syntax = {0};
    struct json_object *value = NULL;
    enum http_body_problem problem = http_body_parse(text, length, "application/json", &value, &syntax);
    if ((problem == HTTP_BODY_NO_JSON && (syntax.position > length || syntax.message == NULL || value != NULL)) ||
        (problem == HTTP_BODY_FINE && !json_object_is_type(value, json_type_object))) {
        abort();
    }
    json_object_put(value);
}

static void fuzz_query(const char *text, size_t length) {
    struct url_query query;
    if (url_query_parse(text, &query)) {
        for (size_t i = 0; i < query.count; i++) {
            if (query.parameters[i].value_length > length) {
                abort();
            }
        }
        url_query_free(&query);
    }
}

static void fuzz_path(const char *text, size_t length) {
    static const char *const patterns[] = {"/execute", "/execute/{process_id}/status", "/proxy/{port}/{path...}"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct http_path_parameter found[HTTP_PATH_PARAMETERS_MAX];
        const char *rest = NULL;
        int count = router_match(patterns[i], text, length, found, HTTP_PATH_PARAMETERS_MAX, &rest);
        for (int j = 0; j < count; j++) {
            if (found[j].value < text || found[j].value + found[j].value_length > text + length) {
                abort();
            }
        }
    }
}

static void fuzz_messages(const char *text, size_t length) {
    unsigned short rows;
    unsigned short columns;
    char accept[WEBSOCKET_ACCEPT_SIZE];
    terminal_message_check_auth(text, length, "key");
    terminal_message_parse_resize(text, length, &rows, &columns);
    websocket_accept_value(text, accept);
    websocket_header_has_token(text, "upgrade");
}

static void fuzz_escapes(const char *text, size_t length) {
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    if (escapes_decode(copy, length) > length) {
        abort();
    }
    free(copy);
}

static void ignore_field(void *state, const char *name, const char *value) {
    (void)state;
    if (strlen(name) == 0 || value == NULL) {
        abort();
    }
}

static void fuzz_answer(const char *text, size_t length) {
    size_t head_length = http1_find_head_end(text, length);
    char *copy = malloc(length + 1);
    memcpy(copy, text, length + 1);
    struct http1_head head;
    if (head_length > 0 && http1_parse_head(copy, head_length, false, &head, ignore_field, NULL)) {
        struct http1_body body = {.framing = head.framing, .left = head.length};
        for (size_t at = head_length; at < length && !body.is_complete;) {
            char out[16];
            size_t used = 0;
            ptrdiff_t content = http1_read_body(&body, text + at, length - at, &used, out, sizeof out);
            if (content < 0) {
                break;
            }
            if (used == 0 && !body.is_complete) {
                abort();
            }
            at += used;
        }
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const targets[])(const char *, size_t) = {fuzz_json,     fuzz_query,   fuzz_path,
                                                            fuzz_messages, fuzz_escapes, fuzz_answer};
    if (size == 0) {
        return 0;
    }
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    targets[data[0] % (sizeof targets / sizeof targets[0])](text, size - 1);
    free(text);
    return 0;
}
