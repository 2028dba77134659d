/* auth_settings.h - do the settings about authentication make sense together, and each by itself? */
#ifndef TERMINALS_COMMON_AUTH_SETTINGS_H
#define TERMINALS_COMMON_AUTH_SETTINGS_H

#include "common/settings.h"

/* API_KEY, OPEN_WEBUI_URL, JWT_SECRET and OPEN: one way in for users, API keys that can be sent in a header, a URL that
 * a path can be appended to (slashes at its end are taken off). False with ERROR_INVALID that names the setting and
 * never quotes a secret. */
bool auth_settings_check(struct settings *settings, struct error *err);

/* Calls `take` for each of the keys in API_KEY (NULL: none), as a span that is no string. False as soon as one call is.
 */
bool auth_settings_each_key(const char *api_key, bool (*take)(void *argument, const char *key, size_t length),
                            void *argument);

#endif
