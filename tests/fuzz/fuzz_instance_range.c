// LINK: instance
/* Any Range header against any size: a part must lie within the file. The first 8 bytes are the size. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "instance/http_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t file_size;
    if (size < sizeof(file_size)) {
        return 0;
    }
    memcpy(&file_size, data, sizeof(file_size));
    file_size &= INT64_MAX; /* as off_t */
    char *header = strndup((const char *)data + sizeof(file_size), size - sizeof(file_size));
    struct http_range range = {0, 0};
    enum http_range_kind kind = http_range_parse(header, file_size, &range);
    free(header);
    if (kind == HTTP_RANGE_PART &&
        (range.length == 0 || range.first >= file_size || range.length > file_size - range.first)) {
        abort();
    }
    return 0;
}
