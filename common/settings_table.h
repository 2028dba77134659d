/* settings_table.h - the rows behind settings.h: what a setting is called, what it may be, what it is without being
 * set. */
#ifndef TERMINALS_COMMON_SETTINGS_TABLE_H
#define TERMINALS_COMMON_SETTINGS_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/settings.h"

#define SETTINGS_PREFIX        "TERMINALS_"
#define SETTINGS_PREFIX_LENGTH (sizeof SETTINGS_PREFIX - 1)

/* Set by settings_export(): the supervisor has read everything, and a process must not find in `.env` what was kept
 * from it. */
#define SETTINGS_COMPLETE "SETTINGS_COMPLETE"

enum setting_type {
    SETTING_TEXT,   /* char *; without a default, NULL when not set or empty */
    SETTING_SECRET, /* char *, NULL when not set; also from the file named by <NAME>_FILE */
    SETTING_NUMBER, /* int64_t, within minimum and maximum */
    SETTING_SWITCH, /* bool */
    SETTING_CHOICE, /* int, an index into choices */
    SETTING_AMOUNT, /* char *, a quantity (quantity.h) above zero, or NULL when not set */
};

struct setting {
    const char *name; /* without TERMINALS_ */
    enum setting_type type;
    size_t offset;             /* into struct settings */
    const char *default_value; /* NULL: not set */
    unsigned readers;          /* enum settings_reader */
    const char *const *choices;
    int64_t minimum;
    int64_t maximum;
};

extern const struct setting settings_table[];
extern const size_t settings_table_count;

/* Another name of a setting: TERMINALS_<alias> counts as <name>, numbers multiplied by `factor`. The name itself wins.
 */
struct setting_alias {
    const char *alias;
    const char *name;
    int64_t factor;
};

extern const struct setting_alias settings_aliases[];
extern const size_t settings_aliases_count;

#endif
