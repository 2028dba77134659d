#include "gate/http_head.h"

#include <ctype.h>

/* RFC 9110 §5.6.2 */
static bool is_token_character(unsigned char character) {
    /* strchr() finds the terminating NUL too, so NUL is ruled out first. */
    return character != '\0' && character < 0x80 &&
           (isalnum(character) || strchr("!#$%&'*+-.^_`|~", character) != NULL);
}

size_t http_head_find_end(const char *bytes, size_t length) {
    const char *end = length == 0 ? NULL : memmem(bytes, length, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - bytes) + 4;
}

static bool is_token(struct span span) {
    for (size_t i = 0; i < span.length; i++) {
        if (!is_token_character((unsigned char)span.bytes[i])) {
            return false;
        }
    }
    return span.length > 0;
}

/* Visible ASCII only; a fragment never belongs into a request (RFC 9112 §3.2.1). */
static bool is_target(struct span method, struct span target) {
    for (size_t i = 0; i < target.length; i++) {
        unsigned char character = (unsigned char)target.bytes[i];
        if (character <= ' ' || character >= 0x7f || character == '#') {
            return false;
        }
    }
    return target.length > 0 &&
           (target.bytes[0] == '/' || (span_equals(target, "*") && span_equals(method, "OPTIONS")));
}

/* Takes a line off *rest, without its CRLF. Any CR, LF or NUL elsewhere is refused. */
static bool take_line(struct span *rest, struct span *line) {
    const char *end = rest->length == 0 ? NULL : memmem(rest->bytes, rest->length, "\r\n", 2);
    if (end == NULL) {
        return false;
    }
    line->bytes = rest->bytes;
    line->length = (size_t)(end - rest->bytes);
    rest->bytes = end + 2;
    rest->length -= line->length + 2;
    for (size_t i = 0; i < line->length; i++) {
        unsigned char character = (unsigned char)line->bytes[i];
        if ((character < ' ' && character != '\t') || character == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool parse_request_line(struct http_head *head, struct span line, struct error *err) {
    bool whole = span_take(&line, ' ', &head->method) && span_take(&line, ' ', &head->target) &&
                 span_take(&line, ' ', &head->version) && line.bytes == NULL;
    if (!whole || !is_token(head->method)) {
        return error_set(err, ERROR_INVALID, "Malformed request line");
    }
    if (!span_equals(head->version, "HTTP/1.1") && !span_equals(head->version, "HTTP/1.0")) {
        return error_set(err, ERROR_INVALID, "Unsupported HTTP version");
    }
    if (!is_target(head->method, head->target)) {
        return error_set(err, ERROR_INVALID, "Malformed request target");
    }
    return true;
}

static bool parse_status_line(struct http_head *head, struct span line, struct error *err) {
    struct span digits = {0};
    bool whole = span_take(&line, ' ', &head->version) && span_take(&line, ' ', &digits);
    if (!whole || digits.length != 3 || !span_starts_with_ignoring_case(head->version, "HTTP/1.")) {
        return error_set(err, ERROR_INVALID, "Malformed status line");
    }
    for (size_t i = 0; i < 3; i++) {
        if (!isdigit((unsigned char)digits.bytes[i])) {
            return error_set(err, ERROR_INVALID, "Malformed status line");
        }
        head->status = head->status * 10 + (digits.bytes[i] - '0');
    }
    return true;
}

static bool parse_header_line(struct http_head *head, struct span line, struct error *err) {
    if (head->header_count == HTTP_HEAD_MAX_HEADERS) {
        return error_set(err, ERROR_INVALID, "More than %d headers", HTTP_HEAD_MAX_HEADERS);
    }
    struct http_header *header = &head->headers[head->header_count];
    /* A folded line starts with white space, which is no token character either (RFC 9112 §5.2). */
    if (!span_take(&line, ':', &header->name) || line.bytes == NULL || !is_token(header->name)) {
        return error_set(err, ERROR_INVALID, "Malformed header");
    }
    header->value = span_trim(line);
    head->header_count++;
    return true;
}

static bool parse_content_length(struct http_head *head, struct error *err) {
    struct span value = http_head_value(head, "Content-Length");
    if (value.length == 0 || value.length > 18 || http_head_count(head, "Content-Length") != 1) {
        return error_set(err, ERROR_INVALID, "Malformed Content-Length");
    }
    for (size_t i = 0; i < value.length; i++) {
        if (!isdigit((unsigned char)value.bytes[i])) {
            return error_set(err, ERROR_INVALID, "Malformed Content-Length");
        }
        head->content_length = head->content_length * 10 + (uint64_t)(value.bytes[i] - '0');
    }
    head->body = head->content_length == 0 ? HTTP_BODY_NONE : HTTP_BODY_LENGTH;
    return true;
}

/* RFC 9112 §6.1 and §6.3. */
static bool parse_body_framing(struct http_head *head, struct error *err) {
    size_t encodings = http_head_count(head, "Transfer-Encoding");
    bool has_length = http_head_count(head, "Content-Length") > 0;
    if (encodings > 0 && has_length) {
        return error_set(err, ERROR_INVALID, "Content-Length together with Transfer-Encoding");
    }
    if (encodings > 0) {
        if (encodings > 1 || !span_equals_ignoring_case(http_head_value(head, "Transfer-Encoding"), "chunked") ||
            span_equals(head->version, "HTTP/1.0")) {
            return error_set(err, ERROR_INVALID, "Unsupported Transfer-Encoding");
        }
        head->body = HTTP_BODY_CHUNKED;
        return true;
    }
    return !has_length || parse_content_length(head, err);
}

static bool parse(struct http_head *head, bool is_answer, struct span rest, struct error *err) {
    head->status = 0;
    head->header_count = 0;
    head->body = HTTP_BODY_NONE;
    head->content_length = 0;
    head->method = head->target = head->version = (struct span){0};

    struct span line;
    if (!take_line(&rest, &line)) {
        return error_set(err, ERROR_INVALID, "Malformed head");
    }
    if (!(is_answer ? parse_status_line(head, line, err) : parse_request_line(head, line, err))) {
        return false;
    }
    while (take_line(&rest, &line)) {
        if (line.length == 0) {
            if (rest.length > 0) {
                break;
            }
            if (http_head_count(head, "Host") > 1) {
                return error_set(err, ERROR_INVALID, "More than one Host");
            }
            return parse_body_framing(head, err);
        }
        if (!parse_header_line(head, line, err)) {
            return false;
        }
    }
    return error_set(err, ERROR_INVALID, "Malformed head");
}

bool http_head_parse_request(struct http_head *head, const char *bytes, size_t length, struct error *err) {
    return parse(head, false, (struct span){bytes, length}, err);
}

bool http_head_parse_answer(struct http_head *head, const char *bytes, size_t length, struct error *err) {
    return parse(head, true, (struct span){bytes, length}, err);
}

size_t http_head_count(const struct http_head *head, const char *name) {
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        count += span_equals_ignoring_case(head->headers[i].name, name);
    }
    return count;
}

struct span http_head_value(const struct http_head *head, const char *name) {
    for (size_t i = 0; i < head->header_count; i++) {
        if (span_equals_ignoring_case(head->headers[i].name, name)) {
            return head->headers[i].value;
        }
    }
    return (struct span){0};
}

bool http_head_lists(const struct http_head *head, const char *name, const char *token) {
    for (size_t i = 0; i < head->header_count; i++) {
        if (!span_equals_ignoring_case(head->headers[i].name, name)) {
            continue;
        }
        struct span rest = head->headers[i].value;
        struct span part;
        while (span_take(&rest, ',', &part)) {
            if (span_equals_ignoring_case(span_trim(part), token)) {
                return true;
            }
        }
    }
    return false;
}
