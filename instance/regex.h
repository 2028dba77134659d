/* regex.h - regular expressions in Python's notation, for searching lines: does it match anywhere?
 *
 * It runs all alternatives at once and remembers where that led (regex_run.c, regex_automaton.c), so no pattern takes
 * more than pattern × text, and usually one look-up a byte: what a client sends cannot stall the instance. Case
 * folding, \w and \d know ASCII, and take any other letter-like character as a letter. Look-around, back references and
 * what else no automaton can do are left to PCRE2, within limits (regex_backtrack.h). A compiled expression belongs to
 * one thread. */
#ifndef TERMINALS_INSTANCE_REGEX_H
#define TERMINALS_INSTANCE_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct regex;

/* NULL: ERROR_INVALID with Python's words ("unterminated character set at position 0"), or ERROR_INTERNAL for no
 * memory. The pattern may be anything. */
struct regex *regex_compile(const char *pattern, size_t length, bool ignore_case, struct error *err);

/* The text as it is, nothing special. */
struct regex *regex_compile_literal(const char *text, size_t length, bool ignore_case, struct error *err);

/* A file name pattern as Python's fnmatch has it: * ? [seq] [!seq], no escapes; `*` matches slashes too. It matches a
 * whole name. */
struct regex *regex_compile_glob(const char *pattern, size_t length, struct error *err);

/* Another one of the same pattern, for another thread; it must be freed before the first. NULL: no memory. */
struct regex *regex_share(const struct regex *regex);

/* `text` is UTF-8; other bytes match as U+FFFD. Line feeds are characters like any other. */
bool regex_search(struct regex *regex, const char *text, size_t length);

/* Looks through many lines (`text` starts where one starts and ends where one ends), each a text of its own without the
 * LF or CR LF at its end. Returns a place in, or at the end of, the first that matches, NULL if none does. At one use
 * of a regex stay with this or with regex_search(): going from one to the other starts over what it has learnt. */
const char *regex_find_line(struct regex *regex, const char *text, size_t length);

/* True if memory ran out in one of these two: what they said is then nothing to go by. */
bool regex_failed(const struct regex *regex);

/* True if lines were passed over because they took too many steps (regex_backtrack.h). */
bool regex_gave_up(const struct regex *regex);

/* NULL is fine. */
void regex_free(struct regex *regex);

#endif
