#include "instance/multipart.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buffer.h"
#include "common/cleanup.h"

enum state {
    STATE_PREAMBLE,   /* before the first delimiter: dropped */
    STATE_AFTER,      /* right behind a delimiter: padding, CR LF, or "--" */
    STATE_AFTER_CR,   /* behind its CR */
    STATE_AFTER_DASH, /* behind the first dash of "--" */
    STATE_HEADERS,    /* collecting the part's header */
    STATE_CONTENT,    /* a part's content */
    STATE_EPILOGUE,   /* behind the last delimiter: dropped */
    STATE_FAILED,
};

struct multipart_parser {
    enum state state;
    const struct multipart_events *events;
    void *events_state;
    /* CR LF "--" boundary. Its only CR is its first byte, so where a match breaks off, the next one can begin no
     * earlier than at the byte that broke it: what was matched need not be kept, it is the start of this text. */
    char delimiter[4 + MULTIPART_BOUNDARY_MAX_BYTES + 1];
    size_t delimiter_length;
    size_t matched;
    char headers[MULTIPART_HEADERS_MAX_BYTES + 1];
    size_t headers_length;
};

/* ---- headers ---- */

static void skip_blanks(const char **at) {
    *at += strspn(*at, " \t\r\n");
}

/* Appends the value at *at, a token or a quoted string. A backslash is an escape only before a quote: some clients send
 * Windows paths as they are. False: an open quote. */
static bool read_value(const char **at, struct buffer *value) {
    if (**at != '"') {
        size_t length = strcspn(*at, "; \t\r\n");
        buffer_append(value, *at, length);
        *at += length;
        return true;
    }
    for ((*at)++; **at != '"'; (*at)++) {
        if (**at == '\0') {
            return false;
        }
        if (**at == '\\' && (*at)[1] == '"') {
            (*at)++;
        }
        buffer_append(value, *at, 1);
    }
    (*at)++;
    return true;
}

/* The value of parameter `name` of a header value "type; name=value; …", NULL if there is none, it is malformed, or
 * memory ran out. The caller frees it. */
static char *header_parameter(const char *text, const char *name) {
    size_t name_length = strlen(name);
    text += strcspn(text, ";");
    while (*text == ';') {
        text++;
        skip_blanks(&text);
        size_t length = strcspn(text, "=; \t\r\n");
        bool is_wanted = length == name_length && strncasecmp(text, name, length) == 0;
        text += length;
        skip_blanks(&text);
        if (*text == '=') {
            text++;
            skip_blanks(&text);
            cleanup_buffer struct buffer value = {0};
            if (!read_value(&text, &value)) {
                return NULL;
            }
            if (is_wanted) {
                buffer_append(&value, "", 0);
                return buffer_take(&value);
            }
        }
        text += strcspn(text, ";");
    }
    return NULL;
}

static int hex_digit(char digit) {
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

/* "UTF-8''%e2%82%ac.txt" (RFC 8187 §3.2) decoded in place, NULL if it is another charset or malformed. Frees `value`
 * then. */
static char *decode_extended(char *value) {
    char *language = value == NULL ? NULL : strchr(value, '\'');
    char *text = language == NULL ? NULL : strchr(language + 1, '\'');
    if (text == NULL || strncasecmp(value, "UTF-8'", 6) != 0) {
        free(value);
        return NULL;
    }
    char *out = value;
    for (text++; *text != '\0'; text++) {
        if (*text == '%' && isxdigit((unsigned char)text[1]) && isxdigit((unsigned char)text[2])) {
            *out++ = (char)(hex_digit(text[1]) << 4 | hex_digit(text[2]));
            text += 2;
        } else {
            *out++ = *text;
        }
        if (out[-1] == '\0') {
            free(value);
            return NULL;
        }
    }
    *out = '\0';
    return value;
}

/* The value of header `name` in the collected block (its lines end in CR LF), borrowed and cut at its line's end. */
static char *find_header(char *block, const char *name) {
    size_t name_length = strlen(name);
    char *found = NULL;
    for (char *line = block; line != NULL && *line != '\0';) {
        char *end = strstr(line, "\r\n");
        if (strncasecmp(line, name, name_length) == 0 && line[name_length] == ':') {
            found = line + name_length + 1;
            if (end != NULL) {
                *end = '\0';
            }
            break;
        }
        line = end == NULL ? NULL : end + 2;
    }
    return found;
}

static bool begin_part(struct multipart_parser *parser, struct error *err) {
    parser->headers[parser->headers_length] = '\0';
    if (strlen(parser->headers) != parser->headers_length) {
        return error_set(err, ERROR_INVALID, "a NUL character in a part's header");
    }
    const char *disposition = find_header(parser->headers, "Content-Disposition");
    cleanup_free char *name = disposition == NULL ? NULL : header_parameter(disposition, "name");
    if (name == NULL) {
        return error_set(err, ERROR_INVALID, "a part without a name");
    }
    cleanup_free char *filename = decode_extended(header_parameter(disposition, "filename*"));
    if (filename == NULL) {
        filename = header_parameter(disposition, "filename");
    }
    struct multipart_part part = {.name = name, .filename = filename};
    return parser->events->part_begin(parser->events_state, &part, err);
}

/* ---- the body ---- */

static bool fail(struct multipart_parser *parser) {
    parser->state = STATE_FAILED;
    return false;
}

static bool emit(struct multipart_parser *parser, const char *bytes, size_t length, struct error *err) {
    if (length == 0 || parser->state == STATE_PREAMBLE) {
        return true;
    }
    return parser->events->part_data(parser->events_state, bytes, length, err);
}

/* In the preamble or a part's content: hands on what is no delimiter, up to and including the next one. Returns how
 * much was consumed; *ok is false when an event failed. */
static size_t feed_content(struct multipart_parser *parser, const char *bytes, size_t length, bool *ok,
                           struct error *err) {
    if (parser->matched == 0) {
        const char *cr = memchr(bytes, '\r', length);
        size_t plain = cr != NULL ? (size_t)(cr - bytes) : length;
        *ok = emit(parser, bytes, plain, err);
        parser->matched = cr != NULL;
        return plain + (cr != NULL);
    }
    size_t at = 0;
    while (at < length && parser->matched < parser->delimiter_length &&
           bytes[at] == parser->delimiter[parser->matched]) {
        at++;
        parser->matched++;
    }
    if (parser->matched == parser->delimiter_length) {
        if (parser->state == STATE_CONTENT) {
            *ok = parser->events->part_end(parser->events_state, err);
        }
        parser->matched = 0;
        parser->state = STATE_AFTER;
    } else if (at < length) {
        *ok = emit(parser, parser->delimiter, parser->matched, err);
        parser->matched = 0;
    }
    return at;
}

/* One byte behind a delimiter (RFC 2046 §5.1.1: "--" ends the body, else padding and CR LF). False: malformed. */
static bool feed_after(struct multipart_parser *parser, char byte) {
    switch (parser->state) {
    case STATE_AFTER:
        if (byte == '-') {
            parser->state = STATE_AFTER_DASH;
            return true;
        }
        if (byte == '\r') {
            parser->state = STATE_AFTER_CR;
            return true;
        }
        return byte == ' ' || byte == '\t';
    case STATE_AFTER_DASH:
        parser->state = STATE_EPILOGUE;
        return byte == '-';
    default:
        parser->state = STATE_HEADERS;
        parser->headers_length = 0;
        return byte == '\n';
    }
}

/* One byte of a part's header, which ends with an empty line. */
static bool feed_header(struct multipart_parser *parser, char byte, struct error *err) {
    if (parser->headers_length == MULTIPART_HEADERS_MAX_BYTES) {
        return error_set(err, ERROR_INVALID, "a part's header is longer than %d bytes", MULTIPART_HEADERS_MAX_BYTES);
    }
    parser->headers[parser->headers_length++] = byte;
    size_t length = parser->headers_length;
    bool is_empty = length == 2 && memcmp(parser->headers, "\r\n", 2) == 0;
    if (!is_empty && (length < 4 || memcmp(parser->headers + length - 4, "\r\n\r\n", 4) != 0)) {
        return true;
    }
    parser->state = STATE_CONTENT;
    return begin_part(parser, err);
}

bool multipart_feed(struct multipart_parser *parser, const char *bytes, size_t length, struct error *err) {
    for (size_t at = 0; at < length;) {
        bool ok = true;
        switch (parser->state) {
        case STATE_PREAMBLE:
        case STATE_CONTENT:
            at += feed_content(parser, bytes + at, length - at, &ok, err);
            break;
        case STATE_AFTER:
        case STATE_AFTER_CR:
        case STATE_AFTER_DASH:
            ok = feed_after(parser, bytes[at++]) || error_set(err, ERROR_INVALID, "a malformed boundary line");
            break;
        case STATE_HEADERS:
            ok = feed_header(parser, bytes[at++], err);
            break;
        case STATE_EPILOGUE:
            return true;
        case STATE_FAILED:
            return error_set(err, ERROR_INVALID, "the body was malformed before");
        }
        if (!ok) {
            return fail(parser);
        }
    }
    return true;
}

bool multipart_finish(const struct multipart_parser *parser, struct error *err) {
    bool is_begun = parser->state != STATE_PREAMBLE && parser->state != STATE_FAILED;
    return parser->state == STATE_EPILOGUE ||
           error_set(err, is_begun ? ERROR_UNPROCESSABLE : ERROR_INVALID, "the body ends before its closing boundary");
}

/* ---- making one ---- */

static bool is_boundary(const char *text) {
    size_t length = strlen(text);
    return length > 0 && length <= MULTIPART_BOUNDARY_MAX_BYTES &&
           strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_,-./:=? ") == length &&
           text[length - 1] != ' ';
}

struct multipart_parser *multipart_new(const char *content_type, const struct multipart_events *events, void *state,
                                       struct error *err) {
    static const char wanted[] = "multipart/form-data";
    size_t length = sizeof(wanted) - 1;
    if (content_type == NULL || strncasecmp(content_type, wanted, length) != 0 ||
        strchr("; \t", content_type[length]) == NULL) {
        error_set(err, ERROR_UNPROCESSABLE, "not multipart/form-data");
        return NULL;
    }
    cleanup_free char *boundary = header_parameter(content_type, "boundary");
    if (boundary == NULL || !is_boundary(boundary)) {
        error_set(err, ERROR_INVALID, "Missing boundary in multipart.");
        return NULL;
    }
    struct multipart_parser *parser = calloc(1, sizeof(*parser));
    if (parser == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    parser->events = events;
    parser->events_state = state;
    snprintf(parser->delimiter, sizeof(parser->delimiter), "\r\n--%s", boundary);
    parser->delimiter_length = strlen(parser->delimiter);
    parser->matched = 2; /* a delimiter at the very start needs no CR LF before it */
    return parser;
}

void multipart_free(struct multipart_parser *parser) {
    free(parser);
}
