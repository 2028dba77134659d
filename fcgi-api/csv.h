/* csv.h - rows as comma-separated values (RFC 4180), safe to open in a spreadsheet. Thread-safe. */
#ifndef TERMINALS_FCGI_API_CSV_H
#define TERMINALS_FCGI_API_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/json.h"

/* Appends a line of field names. False: no memory. */
bool csv_append_names(struct buffer *out, const char *const *names, size_t count);

/* Appends a line with these members of a JSON object; what is absent or null is an empty field. A text that a
 * spreadsheet would take for a formula gets a `'` before it. False: no memory. */
bool csv_append_row(struct buffer *out, struct json_object *row, const char *const *names, size_t count);

#endif
