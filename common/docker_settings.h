/* docker_settings.h - what TERMINALS_DOCKER_… may say, checked when the settings are read. Thread-safe. */
#ifndef TERMINALS_COMMON_DOCKER_SETTINGS_H
#define TERMINALS_COMMON_DOCKER_SETTINGS_H

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"

#define DOCKER_HOME "/home/user" /* of an instance, inside its container */

/* ERROR_INVALID names the setting that is wrong. */
bool docker_settings_check(const struct settings *settings, struct error *err);

/* TERMINALS_DOCKER_MOUNTS as the engine takes it: an array of {Type, Source, Target, ReadOnly}. The caller puts it.
 * NULL with *err. */
struct json_object *docker_settings_mounts(const char *text, struct error *err);

#endif
