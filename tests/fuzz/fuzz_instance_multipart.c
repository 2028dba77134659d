// LINK: instance
/* Any bytes as a multipart body, cut into pieces of any size: the parser must tell the same however they are cut, and
 * never more content than came in. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "instance/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool note_begin(void *state, const struct multipart_part *part, struct error *err) {
    (void)err;
    return buffer_append_format(state, "[%s|%s]", part->name, part->filename != NULL ? part->filename : "-");
}

static bool note_data(void *state, const char *bytes, size_t length, struct error *err) {
    (void)err;
    return buffer_append(state, bytes, length);
}

static bool note_end(void *state, struct error *err) {
    (void)err;
    return buffer_append_string(state, ";");
}

static const struct multipart_events notes = {note_begin, note_data, note_end};

static bool parse(const char *type, const char *body, size_t length, size_t piece, struct buffer *seen) {
    struct error err;
    struct multipart_parser *parser = multipart_new(type, &notes, seen, &err);
    if (parser == NULL) {
        return false;
    }
    bool ok = true;
    for (size_t at = 0; ok && at < length; at += piece) {
        ok = multipart_feed(parser, body + at, length - at < piece ? length - at : piece, &err);
    }
    ok = ok && multipart_finish(parser, &err);
    multipart_free(parser);
    return ok;
}

/* The first byte is the size of a piece, then a Content-Type up to a line feed, then the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end_of_type = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
    if (end_of_type == NULL) {
        return 0;
    }
    char *type = strndup((const char *)data + 1, (size_t)(end_of_type - data) - 1);
    const char *body = (const char *)end_of_type + 1;
    size_t length = size - (size_t)(end_of_type - data) - 1;
    cleanup_buffer struct buffer whole = {0};
    cleanup_buffer struct buffer pieces = {0};
    bool is_whole_good = parse(type, body, length, length + 1, &whole);
    bool are_pieces_good = parse(type, body, length, (size_t)data[0] + 1, &pieces);
    free(type);
    if (is_whole_good != are_pieces_good || whole.length != pieces.length ||
        (whole.length > 0 && memcmp(whole.data, pieces.data, whole.length) != 0) || whole.length > 4 * length) {
        abort();
    }
    return 0;
}
