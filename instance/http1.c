#include "instance/http1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const hop_by_hop[] = {
    "Connection",        "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade",
};

bool http1_is_hop_by_hop(const char *name) {
    for (size_t i = 0; i < sizeof hop_by_hop / sizeof hop_by_hop[0]; i++) {
        if (strcasecmp(name, hop_by_hop[i]) == 0) {
            return true;
        }
    }
    return false;
}

size_t http1_find_head_end(const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    return end != NULL ? (size_t)(end - bytes) + 4 : 0;
}

/* "HTTP/1.1 200 OK" */
static bool parse_status(const char *line, int *status) {
    if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12 || line[8] != ' ') {
        return false;
    }
    char *end = NULL;
    long number = strtol(line + 9, &end, 10);
    if (end != line + 12 || number < 100 || number > 599) {
        return false;
    }
    *status = (int)number;
    return true;
}

static bool parse_field(char *line, struct http1_head *out,
                        void (*each)(void *state, const char *name, const char *value), void *state) {
    char *colon = strchr(line, ':');
    if (colon == NULL || colon == line) {
        return false;
    }
    *colon = '\0';
    char *value = colon + 1;
    value += strspn(value, " \t");
    size_t length = strlen(value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t')) {
        value[--length] = '\0';
    }
    if (strcasecmp(line, "Transfer-Encoding") == 0 && strcasecmp(value, "chunked") == 0) {
        out->framing = HTTP1_CHUNKED; /* wins over a length (RFC 9112 §6.3) */
    } else if (strcasecmp(line, "Content-Length") == 0) {
        char *end = NULL;
        if (*value < '0' || *value > '9') {
            return false;
        }
        out->length = strtoull(value, &end, 10);
        out->framing = out->framing == HTTP1_CHUNKED ? HTTP1_CHUNKED : HTTP1_LENGTH;
        return *end == '\0';
    } else if (strcasecmp(line, "Date") != 0 && !http1_is_hop_by_hop(line)) {
        each(state, line, value);
    }
    return true;
}

bool http1_parse_head(char *head, size_t length, bool is_answer_to_head, struct http1_head *out,
                      void (*each)(void *state, const char *name, const char *value), void *state) {
    *out = (struct http1_head){.framing = HTTP1_UNTIL_CLOSE};
    if (length < 4 || memchr(head, '\0', length) != NULL) {
        return false;
    }
    char *line = head;
    char *end = head + length - 2; /* the empty line */
    while (line < end) {
        char *line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (line_end == NULL) {
            return false;
        }
        *line_end = '\0';
        if (!(line == head ? parse_status(line, &out->status) : parse_field(line, out, each, state))) {
            return false;
        }
        line = line_end + 2;
    }
    bool has_no_body = is_answer_to_head || out->status < 200 || out->status == 204 || out->status == 304;
    if (has_no_body && (!is_answer_to_head || out->framing != HTTP1_LENGTH)) {
        out->framing = HTTP1_LENGTH;
        out->length = 0;
    }
    return out->status != 0;
}

/* Where in the chunked coding (RFC 9112 §7.1) the next byte stands. */
enum chunk_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER_START, TRAILER };

/* The chunk's size line is over. */
static void begin_chunk(struct http1_body *body) {
    body->state = body->left > 0 ? CHUNK_DATA : TRAILER_START;
}

static bool step(struct http1_body *body, char c) {
    switch ((enum chunk_state)body->state) {
    case CHUNK_SIZE: {
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit >= 0) {
            bool fits = body->left < (UINT64_C(1) << 56);
            body->left = body->left * 16 + (uint64_t)digit;
            return fits;
        }
        if (c == '\n') {
            begin_chunk(body);
        } else {
            body->state = CHUNK_EXTENSION;
        }
        return c == '\n' || c == '\r' || c == ';' || c == ' ' || c == '\t';
    }
    case CHUNK_EXTENSION:
        if (c == '\n') {
            begin_chunk(body);
        }
        return true;
    case CHUNK_END:
        if (c == '\n') {
            body->state = CHUNK_SIZE;
        }
        return c == '\r' || c == '\n';
    case TRAILER_START:
        body->is_complete = c == '\n';
        if (c != '\r' && c != '\n') {
            body->state = TRAILER;
        }
        return true;
    case TRAILER:
        if (c == '\n') {
            body->state = TRAILER_START;
        }
        return true;
    case CHUNK_DATA:
        break;
    }
    return false;
}

static size_t smaller(uint64_t a, size_t b, size_t c) {
    size_t least = b < c ? b : c;
    return a < least ? (size_t)a : least;
}

ptrdiff_t http1_read_body(struct http1_body *body, const char *bytes, size_t length, size_t *used, char *out,
                          size_t size) {
    size_t content = 0;
    *used = 0;
    while (*used < length && !body->is_complete) {
        bool is_content = body->framing != HTTP1_CHUNKED || body->state == CHUNK_DATA;
        if (!is_content) {
            if (!step(body, bytes[(*used)++])) {
                return -1;
            }
            continue;
        }
        uint64_t left = body->framing == HTTP1_UNTIL_CLOSE ? UINT64_MAX : body->left;
        size_t piece = smaller(left, length - *used, size - content);
        if (piece == 0 && left > 0) {
            break; /* `out` is full */
        }
        memcpy(out + content, bytes + *used, piece);
        content += piece;
        *used += piece;
        body->left -= body->framing == HTTP1_UNTIL_CLOSE ? 0 : piece;
        if (body->framing == HTTP1_CHUNKED && body->left == 0) {
            body->state = CHUNK_END;
        }
        body->is_complete = body->framing == HTTP1_LENGTH && body->left == 0;
    }
    return (ptrdiff_t)content;
}
