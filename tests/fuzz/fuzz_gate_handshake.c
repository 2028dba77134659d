// LINK: gate
/* Any bytes as the head of a request: what the parser takes must be rewritten into a head that it takes again and that
 * holds nothing of the client's; the handshake and the query of a terminal must survive whatever stands there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "gate/head_rewrite.h"
#include "gate/http_head.h"
#include "gate/websocket_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rewritten(const struct http_head *head) {
    cleanup_buffer struct buffer out = {0};
    struct http_head again;
    if (!head_rewrite(&out, head, "instance-key", false)) {
        abort();
    }
    if (http_head_find_end(out.data, out.length) != out.length) {
        abort();
    }
    /* One more header than came in may be one too many. */
    if (!http_head_parse_request(&again, out.data, out.length, NULL)) {
        if (head->header_count + 2 <= HTTP_HEAD_MAX_HEADERS) {
            abort();
        }
        return;
    }
    if (again.body != head->body || again.content_length != head->content_length ||
        again.target.length != head->target.length ||
        memcmp(again.target.bytes, head->target.bytes, head->target.length) != 0 ||
        http_head_count(&again, "Authorization") != 1 || http_head_count(&again, "X-User-Id") != 0 ||
        http_head_count(&again, "Connection") != 1 || http_head_count(&again, "X-Terminals-Route") != 0) {
        abort();
    }
}

static void check_terminal(const struct http_head *head) {
    struct websocket_claims claims;
    struct http_head again;
    cleanup_buffer struct buffer request = {0};
    cleanup_buffer struct buffer accept = {0};
    int status = 0;
    if (websocket_check_request(head, &status, NULL) && !websocket_append_accept(&accept, head)) {
        abort();
    }
    if (websocket_read_claims(&claims, head, NULL)) {
        websocket_claims_free(&claims);
    }
    if (!websocket_append_request(&request, head, "127.0.0.1:1", "dGhlIHNhbXBsZSBub25jZQ==")) {
        abort();
    }
    /* Up to four headers more than came in. */
    if (head->header_count + 5 <= HTTP_HEAD_MAX_HEADERS && span_equals(head->version, "HTTP/1.1") &&
        span_equals(head->method, "GET") && !http_head_parse_request(&again, request.data, request.length, NULL)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http_head head;
    size_t end = http_head_find_end((const char *)data, size);
    /* A copy of exactly its size: a byte read behind it is seen. */
    char *bytes = malloc(end + 1);
    if (bytes == NULL || end == 0) {
        free(bytes);
        return 0;
    }
    bytes = realloc(bytes, end);
    memcpy(bytes, data, end);
    http_head_parse_answer(&head, bytes, end, NULL);
    if (http_head_parse_request(&head, bytes, end, NULL)) {
        struct span session;
        check_rewritten(&head);
        if (websocket_is_terminal(&head, &session)) {
            check_terminal(&head);
        }
    }
    free(bytes);
    return 0;
}
