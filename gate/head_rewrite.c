#include "gate/head_rewrite.h"

/* Never passed on: the client's credentials and names, and what belongs to one hop. */
static const char *const dropped[] = {
    "Authorization", "Proxy-Authorization", "X-User-Id",        "X-Terminal-Context-Id",
    "Connection",    "Keep-Alive",          "Proxy-Connection", "TE",
    "Upgrade",
};

/* What frames or addresses the message, or is written by HAProxy: naming it in Connection does not remove it, or a
 * client could make us and the instance see different requests. */
static const char *const protected[] = {
    "Host",   "Content-Length", "Transfer-Encoding", "Content-Type",      "Content-Encoding",
    "Expect", "X-Request-Id",   "X-Forwarded-For",   "X-Forwarded-Proto", "X-Forwarded-Host",
};

/* In our own handshake these are ours, or make no sense. */
static const char *const not_in_handshake[] = {
    "Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Expect",
};

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static bool is_one_of(struct span name, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (span_equals_ignoring_case(name, list[i])) {
            return true;
        }
    }
    return false;
}

static bool is_named_by_connection(const struct http_head *head, struct span name) {
    if (is_one_of(name, protected, COUNT(protected))) {
        return false;
    }
    for (size_t i = 0; i < head->header_count; i++) {
        if (!span_equals_ignoring_case(head->headers[i].name, "Connection")) {
            continue;
        }
        struct span rest = head->headers[i].value;
        struct span part;
        while (span_take(&rest, ',', &part)) {
            part = span_trim(part);
            if (part.length == name.length && strncasecmp(part.bytes, name.bytes, name.length) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool is_passed(const struct http_head *head, struct span name) {
    return !is_one_of(name, dropped, COUNT(dropped)) && !span_starts_with_ignoring_case(name, "X-Terminals-") &&
           !is_named_by_connection(head, name);
}

static bool append_span(struct buffer *out, struct span span) {
    return buffer_append(out, span.bytes, span.length);
}

static bool append_header(struct buffer *out, const struct http_header *header) {
    return append_span(out, header->name) && buffer_append_string(out, ": ") && append_span(out, header->value) &&
           buffer_append_string(out, "\r\n");
}

bool head_rewrite(struct buffer *out, const struct http_head *head, const char *key, bool keep_upgrade) {
    append_span(out, head->method);
    buffer_append_string(out, " ");
    append_span(out, head->target);
    buffer_append_string(out, " ");
    append_span(out, head->version);
    buffer_append_string(out, "\r\n");
    for (size_t i = 0; i < head->header_count; i++) {
        if (is_passed(head, head->headers[i].name)) {
            append_header(out, &head->headers[i]);
        }
    }
    if (key[0] != '\0') {
        buffer_append_format(out, "Authorization: Bearer %s\r\n", key);
    }
    if (keep_upgrade) {
        struct span upgrade = http_head_value(head, "Upgrade");
        buffer_append_format(out, "Upgrade: %.*s\r\nConnection: Upgrade\r\n", (int)upgrade.length, upgrade.bytes);
    } else {
        buffer_append_string(out, "Connection: close\r\n");
    }
    buffer_append_string(out, "\r\n");
    return !out->failed;
}

bool head_append_passed_headers(struct buffer *out, const struct http_head *head) {
    for (size_t i = 0; i < head->header_count; i++) {
        struct span name = head->headers[i].name;
        if (is_passed(head, name) && !is_one_of(name, not_in_handshake, COUNT(not_in_handshake)) &&
            !span_starts_with_ignoring_case(name, "Sec-WebSocket-")) {
            append_header(out, &head->headers[i]);
        }
    }
    return !out->failed;
}
