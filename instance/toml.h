/* toml.h - reads a file of settings in TOML 1.0 (https://toml.io/en/v1.0.0): keys, tables, strings of all four kinds,
 * numbers, booleans and arrays of them. Dates, inline tables and arrays of tables, which no setting needs, are refused
 * by name. (Debian 12 has no TOML library for C.) Thread-safe. */
#ifndef TERMINALS_INSTANCE_TOML_H
#define TERMINALS_INSTANCE_TOML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define TOML_FILE_MAX_BYTES (64 * 1024)

enum toml_kind { TOML_STRING, TOML_INTEGER, TOML_FLOAT, TOML_BOOLEAN, TOML_ARRAY };

/* One setting. `key` has the names of its tables before it ("table.key"). `text` is the content of a string, a number
 * in decimal, "true" or "false", or the elements of an array joined with commas; both are gone after the call. False
 * with *err stops the reading. */
typedef bool (*toml_each)(void *state, const char *key, enum toml_kind kind, const char *text, struct error *err);

/* Reads `length` bytes and calls `each` for every setting in order. False with ERROR_INVALID, which begins with the
 * number of the line, when the text is no TOML or `each` refused. */
bool toml_parse(const char *text, size_t length, toml_each each, void *state, struct error *err);

#endif
