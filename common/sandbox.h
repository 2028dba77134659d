/* sandbox.h - what pages of instances may do in a browser: the `sandbox` directive of Content-Security-Policy (CSP 3
 * §7.1, tokens of the HTML standard's `iframe sandbox`). Thread-safe. */
#ifndef TERMINALS_COMMON_SANDBOX_H
#define TERMINALS_COMMON_SANDBOX_H

#include <stdbool.h>

#include "common/error.h"

/* True if `value` is `off` (no sandbox) or a list of known tokens, separated by spaces and perhaps empty. An unknown
 * token, which browsers ignore, is an error that names it: most often it is a misspelt one. */
bool sandbox_check(const char *value, struct error *err);

/* Does this (checked) value leave pages of instances their origin, which is also the admin page's? */
bool sandbox_allows_origin(const char *value);

#endif
