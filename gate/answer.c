#include "gate/answer.h"

#include <stdio.h>

#include "common/error.h"
#include "common/json.h"

/* What we answer is data, for no frame and no page (as HAProxy says on its own answers; it cannot tell ours from an
 * instance's). */
#define OURS                                                                                                           \
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nX-Frame-Options: DENY\r\n"                 \
    "Referrer-Policy: no-referrer\r\n"

/* `is_head`: the answer to a HEAD has no body but says how long it would be (RFC 9110 §9.3.2). */
static bool append(struct buffer *out, int status, const char *headers, const char *body, size_t length, bool is_head) {
    buffer_append_format(out,
                         "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                         "Cache-Control: no-store\r\nConnection: close\r\n" OURS "%s\r\n",
                         status, http_reason_phrase(status), length, headers);
    if (!is_head) {
        buffer_append(out, body, length);
    }
    return !out->failed;
}

bool answer_append_error(struct buffer *out, int status, const char *detail, bool is_head) {
    char headers[64] = "";
    if (status == 503) {
        snprintf(headers, sizeof headers, "Retry-After: %d\r\n", ANSWER_RETRY_AFTER_SECONDS);
    } else if (status == 426) {
        snprintf(headers, sizeof headers, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    }
    cleanup_json struct json_object *body = json_object_new_object();
    size_t length = 0;
    const char *text = body != NULL && json_add_string(body, "detail", detail) ? json_text(body, &length) : NULL;
    return text != NULL && append(out, status, headers, text, length, is_head);
}

bool answer_append_healthy(struct buffer *out, bool is_head) {
    static const char body[] = "{\"status\": true}";
    return append(out, 200, "", body, sizeof body - 1, is_head);
}

bool answer_append_refusal(struct buffer *out, const struct authorizer_answer *refusal, bool is_head) {
    cleanup_buffer struct buffer headers = {0};
    buffer_append_string(&headers, "");
    if (refusal->www_authenticate != NULL) {
        buffer_append_format(&headers, "WWW-Authenticate: %s\r\n", refusal->www_authenticate);
    }
    if (refusal->retry_after != NULL) {
        buffer_append_format(&headers, "Retry-After: %s\r\n", refusal->retry_after);
    }
    return !headers.failed && append(out, refusal->status, headers.data, refusal->body, refusal->body_length, is_head);
}
