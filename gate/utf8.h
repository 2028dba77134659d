/* utf8.h - header values may hold any bytes, JSON only UTF-8 (RFC 3629): what is not must never reach an IPC line,
 * since the peer gives up a connection on which it cannot parse a line. No state, thread-safe. */
#ifndef TERMINALS_GATE_UTF8_H
#define TERMINALS_GATE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_is_valid(const char *text, size_t length);

/* Replaces every byte that is not part of valid UTF-8, in place, by '?'. */
void utf8_make_valid(char *text, size_t length);

#endif
