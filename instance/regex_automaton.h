/* regex_automaton.h - remembers what regex_run.c works out: a deterministic automaton that is built while it runs, one
 * look-up a byte where it has been before. It is thrown away and begun anew when it has grown large, so a pattern made
 * to need millions of states only makes it slow, never large. One thread at a time. */
#ifndef TERMINALS_INSTANCE_REGEX_AUTOMATON_H
#define TERMINALS_INSTANCE_REGEX_AUTOMATON_H

#include <stdbool.h>
#include <stddef.h>

#include "instance/regex_program.h"

struct regex_automaton;

enum regex_text {
    REGEX_TEXT_WHOLE, /* one text; line feeds are characters like any other */
    REGEX_TEXT_LINES, /* every line is a text of its own, without the LF or CR LF at its end */
};

/* The program must live longer. NULL: no memory. */
struct regex_automaton *regex_automaton_new(const struct regex_program *program, enum regex_text kind);
void regex_automaton_free(struct regex_automaton *automaton);

/* Runs over `text`, which starts where a text or line starts and ends where one ends. Returns a place in (or at the end
 * of) the first one in which there is a match, NULL if there is none. A run out of memory is a match, too: *failed is
 * then set. */
const char *regex_automaton_search(struct regex_automaton *automaton, const char *text, size_t length, bool *failed);

#endif
