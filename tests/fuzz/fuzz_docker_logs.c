/* What a tenant's container wrote becomes part of an error: one line of UTF-8 without control characters, whatever the
 * stream looks like. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "provisioner/backends/docker_logs.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char out[40];
    docker_logs_join((const char *)data, size, out, sizeof out);
    if (strlen(out) >= sizeof out || !text_is_utf8(out)) {
        abort();
    }
    for (const char *at = out; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            abort();
        }
    }
    return 0;
}
