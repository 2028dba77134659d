/* fcgi_codec.h - the little of FastCGI 1.0 that asking an authorizer takes (§3.3 records, §3.4 name-value pairs,
 * §6.3 Authorizer). Pure encoding and decoding; a decoder belongs to its caller. */
#ifndef TERMINALS_GATE_FCGI_CODEC_H
#define TERMINALS_GATE_FCGI_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

#define FCGI_OUTPUT_MAX_BYTES (256 * 1024)

/* Appends one name-value pair to `params`. */
bool fcgi_append_param(struct buffer *params, const char *name, const char *value, size_t value_length);

/* Appends a whole authorizer request (BEGIN_REQUEST with role 2 and without keep-conn, PARAMS, empty PARAMS). */
bool fcgi_append_request(struct buffer *out, const struct buffer *params);

struct fcgi_decoder {
    struct buffer input;  /* the record that is not complete yet */
    struct buffer output; /* what came on stdout */
    struct buffer errors; /* what came on stderr, the first few KiB */
    bool ended;           /* END_REQUEST has come; nothing may follow */
};

/* Takes what the authorizer sent. False when it is not FastCGI, is an answer to somebody else, is too long, or says
 * that the request was not done: ERROR_CAPACITY if the authorizer is overloaded, else ERROR_BACKEND. */
bool fcgi_decoder_feed(struct fcgi_decoder *decoder, const void *bytes, size_t length, struct error *err);
void fcgi_decoder_free(struct fcgi_decoder *decoder);

#endif
