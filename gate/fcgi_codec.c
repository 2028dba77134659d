#include "gate/fcgi_codec.h"

#include <string.h>

/* FastCGI 1.0, section 8. */
enum { FCGI_VERSION_1 = 1, FCGI_AUTHORIZER = 2, FCGI_HEADER_BYTES = 8, FCGI_REQUEST_COMPLETE = 0, FCGI_OVERLOADED = 2 };
enum record_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_END_REQUEST = 3,
    FCGI_PARAMS = 4,
    FCGI_STDOUT = 6,
    FCGI_STDERR = 7,
};

#define REQUEST_ID        1
#define CONTENT_MAX_BYTES 65528 /* the longest content that needs no padding to a multiple of 8 */
#define ERRORS_MAX_BYTES  4096

static bool append_length(struct buffer *params, size_t length) {
    if (length < 0x80) {
        unsigned char byte = (unsigned char)length;
        return buffer_append(params, &byte, 1);
    }
    unsigned char bytes[] = {(unsigned char)(0x80 | (length >> 24)), (unsigned char)(length >> 16),
                             (unsigned char)(length >> 8), (unsigned char)length};
    return buffer_append(params, bytes, sizeof bytes);
}

bool fcgi_append_param(struct buffer *params, const char *name, const char *value, size_t value_length) {
    if (value_length > INT32_MAX) {
        params->failed = true;
        return false;
    }
    return append_length(params, strlen(name)) && append_length(params, value_length) &&
           buffer_append_string(params, name) && buffer_append(params, value, value_length);
}

static bool append_record(struct buffer *out, enum record_type type, const void *content, size_t length) {
    unsigned char header[FCGI_HEADER_BYTES] = {
        FCGI_VERSION_1, (unsigned char)type, 0, REQUEST_ID, (unsigned char)(length >> 8), (unsigned char)length, 0, 0};
    return buffer_append(out, header, sizeof header) && buffer_append(out, content, length);
}

bool fcgi_append_request(struct buffer *out, const struct buffer *params) {
    static const unsigned char begin[8] = {0, FCGI_AUTHORIZER, 0 /* no FCGI_KEEP_CONN */};
    append_record(out, FCGI_BEGIN_REQUEST, begin, sizeof begin);
    for (size_t done = 0; done < params->length;) {
        size_t left = params->length - done;
        size_t length = left < CONTENT_MAX_BYTES ? left : CONTENT_MAX_BYTES;
        append_record(out, FCGI_PARAMS, params->data + done, length);
        done += length;
    }
    append_record(out, FCGI_PARAMS, "", 0);
    return !params->failed && !out->failed;
}

static bool end_request(struct fcgi_decoder *decoder, const unsigned char *content, size_t length, struct error *err) {
    if (length != 8) {
        return error_set(err, ERROR_BACKEND, "the authorizer sent a malformed END_REQUEST");
    }
    if (content[4] != FCGI_REQUEST_COMPLETE) {
        return error_set(err, content[4] == FCGI_OVERLOADED ? ERROR_CAPACITY : ERROR_BACKEND,
                         "the authorizer refused the request with protocol status %d", content[4]);
    }
    decoder->ended = true;
    return true;
}

static bool take_record(struct fcgi_decoder *decoder, unsigned type, const unsigned char *content, size_t length,
                        struct error *err) {
    switch (type) {
    case FCGI_STDOUT:
        if (decoder->output.length + length > FCGI_OUTPUT_MAX_BYTES) {
            return error_set(err, ERROR_BACKEND, "the authorizer's answer is too long");
        }
        return buffer_append(&decoder->output, content, length) || error_set(err, ERROR_INTERNAL, "out of memory");
    case FCGI_STDERR:
        if (decoder->errors.length + length > ERRORS_MAX_BYTES) {
            length = ERRORS_MAX_BYTES - decoder->errors.length;
        }
        return buffer_append(&decoder->errors, content, length) || error_set(err, ERROR_INTERNAL, "out of memory");
    case FCGI_END_REQUEST:
        return end_request(decoder, content, length, err);
    default:
        return error_set(err, ERROR_BACKEND, "the authorizer sent a record of type %u", type);
    }
}

bool fcgi_decoder_feed(struct fcgi_decoder *decoder, const void *bytes, size_t length, struct error *err) {
    if (!buffer_append(&decoder->input, bytes, length)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    size_t done = 0;
    while (!decoder->ended && decoder->input.length - done >= FCGI_HEADER_BYTES) {
        const unsigned char *header = (const unsigned char *)decoder->input.data + done;
        size_t content_length = (size_t)header[4] << 8 | header[5];
        size_t record_length = FCGI_HEADER_BYTES + content_length + header[6];
        if (header[0] != FCGI_VERSION_1 || header[2] != 0 || header[3] != REQUEST_ID) {
            return error_set(err, ERROR_BACKEND, "the authorizer does not speak FastCGI 1.0");
        }
        if (decoder->input.length - done < record_length) {
            break;
        }
        if (!take_record(decoder, header[1], header + FCGI_HEADER_BYTES, content_length, err)) {
            return false;
        }
        done += record_length;
    }
    buffer_consume(&decoder->input, done);
    if (decoder->ended && decoder->input.length > 0) {
        return error_set(err, ERROR_BACKEND, "the authorizer sent more after the end of its answer");
    }
    return true;
}

void fcgi_decoder_free(struct fcgi_decoder *decoder) {
    buffer_free(&decoder->input);
    buffer_free(&decoder->output);
    buffer_free(&decoder->errors);
}
