/* origins.h - lists of origins as people write them: `https://chat.example.com, http://localhost:8080`. Thread-safe. */
#ifndef TERMINALS_COMMON_ORIGINS_H
#define TERMINALS_COMMON_ORIGINS_H

#include <stdbool.h>

#include "common/error.h"

/* True if every entry, separated by commas or spaces, is an origin as browsers send it (RFC 6454 §6.2): scheme, host
 * and perhaps a port, all in lower case, or `null`. `*` alone is any, and the empty list is none. Else *err names the
 * first that is not: it would never be anybody's, such as one that ends with a slash. */
bool origins_check(const char *list, struct error *err);

#endif
