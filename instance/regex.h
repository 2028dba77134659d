/* regex.h - regular expressions in Python's notation, for searching lines: does it match anywhere?
 *
 * It runs all alternatives at once (Thompson's construction), so no pattern takes more than patterns × text: what a
 * client sends cannot stall the instance. That rules out back references and look-around, which are refused by name.
 * Case folding, \w and \d know ASCII, and take any other letter-like character as a letter. A compiled expression
 * belongs to one thread. */
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

/* `text` is UTF-8; other bytes match as U+FFFD. */
bool regex_search(struct regex *regex, const char *text, size_t length);

void regex_free(struct regex *regex);

#endif
