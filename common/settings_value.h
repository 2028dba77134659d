/* settings_value.h - one setting's text becomes its value. Thread-safe. */
#ifndef TERMINALS_COMMON_SETTINGS_VALUE_H
#define TERMINALS_COMMON_SETTINGS_VALUE_H

#include "common/settings_table.h"

/* Where a row's value is in `settings`: a `bool`, `int`, `int64_t` or `char *`, as the row's type says. */
void *settings_field(const struct settings *settings, const struct setting *row);

/* Puts `text` into the row's field, which holds nothing yet; NULL, or empty where empty means nothing: the default.
 * False with *err, which names the setting and what it may be, and quotes the text unless it is a secret. */
bool settings_store(struct settings *settings, const struct setting *row, const char *text, struct error *err);

/* A whole number in decimal digits, perhaps with a minus, and nothing else. False: it is not that, or too large. */
bool settings_number(const char *text, int64_t *number);

#endif
