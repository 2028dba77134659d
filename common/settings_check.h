/* settings_check.h - what no row of the table can say of its setting: what is inside a text, and what settings say
 * together. Thread-safe. */
#ifndef TERMINALS_COMMON_SETTINGS_CHECK_H
#define TERMINALS_COMMON_SETTINGS_CHECK_H

#include "common/settings.h"

/* Part of settings_parse(), when all is stored; auth_settings_check() may tidy what it finds. False with *err
 * (ERROR_INVALID), which names the setting and quotes no secret. */
bool settings_check(struct settings *settings, struct error *err);

#endif
