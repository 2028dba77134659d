#include "fcgi-api/answer.h"

#define RETRY_AFTER_SECONDS "5"

void answer_add_header(struct answer *answer, const char *name, const char *value) {
    buffer_append_format(&answer->headers, "%s: %s\r\n", name, value);
}

void answer_text(struct answer *answer, int status, const char *text, size_t length) {
    answer->status = status;
    buffer_append(&answer->body, text, length);
}

void answer_json(struct answer *answer, int status, struct json_object *body) {
    size_t length = 0;
    const char *text = json_text(body, &length);
    if (text == NULL) {
        answer->body.failed = true;
        return;
    }
    answer_text(answer, status, text, length);
}

void answer_other(struct answer *answer, int status, const char *content_type) {
    answer->status = status;
    answer->content_type = content_type;
}

void answer_detail(struct answer *answer, int status, const char *detail) {
    cleanup_json struct json_object *body = json_object_new_object();
    if (body == NULL || !json_add_string(body, "detail", detail)) {
        answer->body.failed = true;
        return;
    }
    answer_json(answer, status, body);
}

void answer_error(struct answer *answer, const struct error *err) {
    int status = error_code_http_status(err->code);
    if (status == 401) {
        answer_add_header(answer, "WWW-Authenticate", "Bearer");
    }
    if (status == 503) {
        answer_add_header(answer, "Retry-After", RETRY_AFTER_SECONDS);
    }
    answer_detail(answer, status, err->message);
}

bool answer_entry_add(struct json_object **entries, const char *place, const char *name, const char *type,
                      const char *message, const char *input) {
    if (*entries == NULL) {
        *entries = json_object_new_array();
    }
    cleanup_json struct json_object *loc = json_object_new_array();
    cleanup_json struct json_object *entry = json_object_new_object();
    const char *const path[] = {place, name};
    bool ok = *entries != NULL && loc != NULL && entry != NULL;
    for (size_t i = 0; ok && i < 2 && path[i] != NULL; i++) {
        struct json_object *step = json_object_new_string(path[i]);
        ok = step != NULL && json_object_array_add(loc, step) == 0;
    }
    return ok && json_add_string(entry, "type", type) && json_add(entry, "loc", json_object_get(loc)) &&
           json_add_string(entry, "msg", message) && json_add_string(entry, "input", input) &&
           json_object_array_add(*entries, json_object_get(entry)) == 0;
}

void answer_unprocessable(struct answer *answer, struct json_object *entries) {
    cleanup_json struct json_object *body = json_object_new_object();
    if (body == NULL || !json_add(body, "detail", json_object_get(entries))) {
        answer->body.failed = true;
        return;
    }
    answer_json(answer, 422, body);
}

void answer_missing_header(struct answer *answer, const char *name) {
    answer->status = 422;
    buffer_append_format(
        &answer->body,
        "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"header\",\"%s\"],\"msg\":\"Field required\",\"input\":null}]}",
        name);
}

bool answer_write(const struct answer *answer, struct buffer *out) {
    static char sentence[] = "{\"detail\":\"out of memory\"}";
    static const struct answer no_memory = {.status = 500, .body = {sentence, sizeof sentence - 1, 0, false}};
    if (answer->status == 0 || answer->headers.failed || answer->body.failed) {
        answer = &no_memory;
    }
    buffer_append_format(out, "Status: %d %s\r\n", answer->status, http_reason_phrase(answer->status));
    if (answer->headers.length > 0) {
        buffer_append(out, answer->headers.data, answer->headers.length);
    }
    buffer_append_format(out, "Content-Type: %s\r\nCache-Control: %s\r\nContent-Length: %zu\r\n\r\n",
                         answer->content_type == NULL ? "application/json" : answer->content_type,
                         answer->cache_control == NULL ? "no-store" : answer->cache_control, answer->body.length);
    if (!answer->omits_body && answer->body.length > 0) {
        buffer_append(out, answer->body.data, answer->body.length);
    }
    return !out->failed;
}

void answer_free(struct answer *answer) {
    buffer_free(&answer->headers);
    buffer_free(&answer->body);
}
