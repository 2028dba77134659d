/* clock.h - time: monotonic milliseconds for intervals, Unix milliseconds and RFC 3339 for what people read.
 * Thread-safe. */
#ifndef TERMINALS_COMMON_CLOCK_H
#define TERMINALS_COMMON_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLOCK_RFC3339_SIZE 32

/* Milliseconds: of a clock that nobody sets, from an unknown moment on; of the wall clock since 1970. Thread-safe. */
int64_t clock_monotonic_ms(void);
int64_t clock_unix_ms(void);

/* "2026-11-23T18:00:00.123Z" (RFC 3339, UTC). */
void clock_format_rfc3339(int64_t unix_ms, char out[CLOCK_RFC3339_SIZE]);

/* Reads an RFC 3339 date-time (any offset, optional fraction) or a date alone (midnight UTC). False if it is none. */
bool clock_parse_rfc3339(const char *text, int64_t *unix_ms);

#endif
