/* text.h - is a text UTF-8? What comes from a header or a percent-encoding may be any bytes, and JSON carries no other
 * encoding. Thread-safe. */
#ifndef TERMINALS_COMMON_TEXT_H
#define TERMINALS_COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The length in bytes of the character that `text` begins with, if that is well-formed UTF-8 (Unicode 15, table 3-7: no
 * overlong forms, no surrogates, nothing above U+10FFFF); else 0, also at the end of the text. */
size_t text_utf8_character_length(const char *text);

/* Is all of it such characters? */
bool text_is_utf8(const char *text);

/* Puts a question mark in the place of each byte that is no UTF-8, such as those of a character that was cut. */
void text_make_utf8(char *text);

/* The same, and of each control character (C0, DEL): a text of others', for one line. */
void text_make_line(char *text);

#endif
