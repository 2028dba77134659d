/* text_sink.h - where the text of a document goes: lines with line feeds between them, none after the last. */
#ifndef TERMINALS_INSTANCE_TEXT_SINK_H
#define TERMINALS_INSTANCE_TEXT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct text_sink {
    FILE *file;
    bool has_line; /* there is one, perhaps empty so far */
};

/* Begins a line. */
void text_sink_line(struct text_sink *sink);

/* Appends to the line, or begins the first one. */
void text_sink_add(struct text_sink *sink, const char *text, size_t length);
void text_sink_add_string(struct text_sink *sink, const char *text);

/* The same for one character; no character at all becomes U+FFFD. */
void text_sink_add_character(struct text_sink *sink, uint32_t code_point);

#endif
