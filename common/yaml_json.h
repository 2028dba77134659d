/* yaml_json.h - a YAML document as JSON: what people write into configuration files.
 *
 * Plain scalars mean what YAML 1.2's core schema says (null, true, 12, 1.5); quoted ones are texts. Anchors work. An
 * error names the line. Refused: more than one document, a key that comes twice or is no scalar, tags, `<<`, more than
 * YAML_NODES_MAX nodes (aliases count each time), YAML_DEPTH_MAX levels. */
#ifndef TERMINALS_COMMON_YAML_JSON_H
#define TERMINALS_COMMON_YAML_JSON_H

#include <stddef.h>

#include "common/error.h"
#include "common/json.h"

#define YAML_NODES_MAX 100000
#define YAML_DEPTH_MAX 64

/* An empty document is an empty object. NULL with ERROR_INVALID. */
struct json_object *yaml_to_json(const char *text, size_t length, struct error *err);

#endif
