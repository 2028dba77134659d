#include "instance/files_search.h"

#include <string.h>

#include "instance/utf8.h"

static bool add(struct patterns *patterns, const char *text, size_t length) {
    struct error err;
    if (patterns->count == SEARCH_PATTERNS_MAX) {
        return true;
    }
    struct regex *regex = regex_compile_glob(text, length, &err);
    if (regex != NULL) {
        patterns->list[patterns->count++] = regex;
    }
    return regex != NULL || err.code != ERROR_INTERNAL;
}

bool patterns_read(struct http_request *request, const char *name, struct patterns *patterns) {
    size_t length;
    const char *text;
    for (size_t i = 0; (text = http_query_at(request, name, i, &length)) != NULL; i++) {
        if (!add(patterns, text, length) || (strncmp(text, "**/", 3) == 0 && !add(patterns, text + 3, length - 3))) {
            return false;
        }
    }
    return true;
}

bool patterns_match(const struct patterns *patterns, const char *name, const char *relative) {
    for (size_t i = 0; i < patterns->count; i++) {
        if (regex_search(patterns->list[i], name, strlen(name)) ||
            (name != relative && regex_search(patterns->list[i], relative, strlen(relative)))) {
            return true;
        }
    }
    return false;
}

bool patterns_share(const struct patterns *patterns, struct patterns *copy) {
    for (size_t i = 0; i < patterns->count; i++) {
        struct regex *regex = regex_share(patterns->list[i]);
        if (regex == NULL) {
            return false;
        }
        copy->list[copy->count++] = regex;
    }
    return true;
}

void patterns_free(struct patterns *patterns) {
    for (size_t i = 0; i < patterns->count; i++) {
        regex_free(patterns->list[i]);
    }
    patterns->count = 0;
}

void search_respond(struct http_request *request, const char *key, const char *query, const char *path,
                    const struct buffer *matches, bool is_truncated) {
    cleanup_buffer struct buffer json = {0};
    buffer_append_format(&json, "{\"%s\":", key);
    utf8_append_json(&json, query, strlen(query));
    buffer_append_string(&json, ",\"path\":");
    utf8_append_json(&json, path, strlen(path));
    buffer_append_string(&json, ",\"matches\":[");
    buffer_append(&json, matches->data, matches->length);
    buffer_append_string(&json, is_truncated ? "],\"truncated\":true}" : "],\"truncated\":false}");
    json.failed = json.failed || matches->failed;
    http_respond_buffer(request, 200, "application/json", &json);
}
