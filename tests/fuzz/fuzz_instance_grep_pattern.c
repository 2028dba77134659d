// LINK: instance
/* Any pattern over any lines: looking through all lines at once (literals first, an automaton) must find the very lines
 * that match one by one, however they end. The first byte chooses the kind of pattern, the first line is the pattern.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "instance/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct regex *compile(unsigned kind, const char *pattern, size_t length) {
    struct error err;
    return (kind & 2) != 0 ? regex_compile_literal(pattern, length, (kind & 1) != 0, &err)
                           : regex_compile(pattern, length, (kind & 1) != 0, &err);
}

/* Compares the first line that matches in `text` and returns where to go on; NULL at the end. */
static const char *compare_first(struct regex *all, struct regex *each, const char *text, const char *end) {
    const char *found = regex_find_line(all, text, (size_t)(end - text));
    for (const char *line = text; line < end;) {
        const char *line_feed = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = line_feed != NULL ? line_feed : end;
        size_t length = (size_t)(line_end - line);
        length -= length > 0 && line[length - 1] == '\r';
        if (regex_search(each, line, length)) {
            if (found == NULL || found < line || found > line_end) {
                abort();
            }
            return line_feed != NULL && line_feed + 1 < end ? line_feed + 1 : NULL;
        }
        line = line_feed != NULL ? line_feed + 1 : end;
    }
    if (found != NULL) {
        abort();
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *line_feed = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
    if (line_feed == NULL || line_feed - data > 200) {
        return 0;
    }
    struct regex *all = compile(data[0], (const char *)data + 1, (size_t)(line_feed - data) - 1);
    struct regex *each = all == NULL ? NULL : regex_share(all);
    if (each != NULL) {
        const char *text = (const char *)line_feed + 1;
        const char *end = (const char *)data + size;
        while (text != NULL && text < end) {
            text = compare_first(all, each, text, end);
        }
    }
    regex_free(each);
    regex_free(all);
    return 0;
}
