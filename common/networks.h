/* networks.h - lists of addresses and networks as people write them: `127.0.0.1, 10.0.0.0/8, fd00::/8`. Thread-safe. */
#ifndef TERMINALS_COMMON_NETWORKS_H
#define TERMINALS_COMMON_NETWORKS_H

#include <stdbool.h>

#include "common/error.h"

/* True if every entry, separated by commas, is an IPv4 or IPv6 address, or one with a prefix length. Else *err names
 * the first that is not. */
bool networks_check(const char *list, struct error *err);

#endif
