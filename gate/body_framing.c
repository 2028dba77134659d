#include "gate/body_framing.h"

#define SIZE_MAX_DIGITS 15 /* below 2^60: no overflow whatever is added up */
#define LINES_MAX_BYTES 8192

void body_framing_start(struct body_framing *framing, const struct http_head *head) {
    *framing = (struct body_framing){.kind = head->body};
    framing->left = head->body == HTTP_BODY_LENGTH ? head->content_length : 0;
}

bool body_framing_is_done(const struct body_framing *framing) {
    return framing->kind == HTTP_BODY_CHUNKED ? framing->state == CHUNKS_DONE : framing->left == 0;
}

bool body_framing_is_invalid(const struct body_framing *framing) {
    return framing->state == CHUNKS_INVALID;
}

static int hex_digit(char character) {
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

static enum chunk_state size_line_end(const struct body_framing *framing) {
    return framing->left == 0 ? TRAILER_START : CHUNK_DATA;
}

static enum chunk_state scan_size(struct body_framing *framing, char character) {
    int digit = hex_digit(character);
    if (digit >= 0 && framing->size_digits < SIZE_MAX_DIGITS) {
        framing->size_digits++;
        framing->left = framing->left * 16 + (uint64_t)digit;
        return CHUNK_SIZE;
    }
    bool may_end = character == '\r' || character == ';' || character == ' ' || character == '\t';
    return framing->size_digits > 0 && may_end ? CHUNK_EXTENSION : CHUNKS_INVALID;
}

/* One character outside the data. HAProxy has checked and rewritten the framing already; what is lenient here (what an
 * extension may contain) is so because nothing depends on it: both sides end a line at its LF. */
static enum chunk_state scan_character(struct body_framing *framing, char character) {
    switch (framing->state) {
    case CHUNK_SIZE:
        return scan_size(framing, character);
    case CHUNK_EXTENSION:
        return character == '\n' ? size_line_end(framing) : CHUNK_EXTENSION;
    case CHUNK_DATA_CR:
        return character == '\r' ? CHUNK_DATA_LF : CHUNKS_INVALID;
    case CHUNK_DATA_LF:
        return character == '\n' ? CHUNK_SIZE : CHUNKS_INVALID;
    case TRAILER_START:
        return character == '\r' ? TRAILER_LAST_LF : character == '\n' ? CHUNKS_INVALID : TRAILER_LINE;
    case TRAILER_LINE:
        return character == '\n' ? TRAILER_START : TRAILER_LINE;
    case TRAILER_LAST_LF:
        return character == '\n' ? CHUNKS_DONE : CHUNKS_INVALID;
    default:
        return CHUNKS_INVALID;
    }
}

size_t body_framing_scan(struct body_framing *framing, const char *bytes, size_t length) {
    size_t done = 0;
    while (done < length && framing->state != CHUNKS_DONE && framing->state != CHUNKS_INVALID) {
        if (framing->state == CHUNK_DATA) {
            size_t step = length - done < framing->left ? length - done : (size_t)framing->left;
            done += step;
            framing->left -= step;
            framing->data_size += step;
            framing->state = framing->left == 0 ? CHUNK_DATA_CR : CHUNK_DATA;
            continue;
        }
        enum chunk_state before = framing->state;
        framing->state = scan_character(framing, bytes[done]);
        if (framing->state == CHUNKS_INVALID) {
            break;
        }
        done++;
        if (before == CHUNK_DATA_LF) {
            framing->size_digits = 0;
            framing->line_bytes = 0;
        }
        bool in_line = before == CHUNK_EXTENSION || before == TRAILER_START || before == TRAILER_LINE;
        if (in_line && ++framing->line_bytes > LINES_MAX_BYTES) {
            framing->state = CHUNKS_INVALID;
        }
    }
    return done;
}
