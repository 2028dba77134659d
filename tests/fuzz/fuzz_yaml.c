/* What people write into YAML files: each becomes JSON or a message. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/yaml_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct json_object *value = yaml_to_json((const char *)data, size, &err);
    if (value == NULL && (err.message[0] == '\0' || err.code == ERROR_NONE)) {
        __builtin_trap();
    }
    json_object_put(value);
    return 0;
}
