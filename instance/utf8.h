/* utf8.h - UTF-8 as RFC 3629 has it, and file names, which Linux does not promise to be UTF-8, as text that is.
 *
 * A file name is any bytes but NUL and '/'. JSON and query strings carry text. So that every name can be told and given
 * back without loss, a byte that is part of no UTF-8 sequence is told as the character U+EF00 + byte (U+EF80…U+EFFF, in
 * the private use area, the convention of MirBSD's OPTU-8), and so is each byte of a real character of that range.
 * Decoding turns each such character back into its byte. Thread-safe. */
#ifndef TERMINALS_INSTANCE_UTF8_H
#define TERMINALS_INSTANCE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

/* The length of the well-formed sequence at the start of `text` (1 to 4), 0 if there is none. *code_point may be NULL.
 */
size_t utf8_decode(const char *text, size_t length, uint32_t *code_point);

/* True if all of it is well-formed. */
bool utf8_is_valid(const char *text, size_t length);

/* Where the first byte is that belongs to no whole well-formed sequence, `length` if there is none. Sets *is_cut if
 * that sequence is good so far and only ends too early: what a reader of pieces carries over to the next one. */
size_t utf8_valid_prefix(const char *text, size_t length, bool *is_cut);

/* A file name or path as text, as described above: a string that the caller frees; NULL: no memory. */
char *utf8_name_to_text(const char *name);

/* The reverse, in place; returns the new length. The text must end with a NUL, and so does the name. */
size_t utf8_text_to_name(char *text, size_t length);

/* Appends text as a JSON string with its quotes. What is not UTF-8 is written as in a file name. */
bool utf8_append_json(struct buffer *out, const char *text, size_t length);

#endif
