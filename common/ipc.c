#include "common/ipc.h"

#include <string.h>

#include "common/text.h"

int ipc_take_message(struct buffer *input, size_t max_bytes, struct json_object **message, struct error *err) {
    *message = NULL;
    char *line_end = input->length == 0 ? NULL : memchr(input->data, '\n', input->length);
    size_t length = line_end == NULL ? input->length : (size_t)(line_end - input->data);
    if (length > max_bytes) {
        error_set(err, ERROR_INVALID, "a message longer than %zu bytes", max_bytes);
        return -1;
    }
    if (line_end == NULL) {
        return 0;
    }
    *message = json_parse_object(input->data, length, err);
    if (*message == NULL) {
        return -1;
    }
    buffer_consume(input, length + 1);
    return 1;
}

bool ipc_append_message(struct buffer *output, struct json_object *message) {
    size_t length = 0;
    size_t begin = output->length;
    const char *text = json_text(message, &length);
    if (text == NULL || buffer_reserve(output, length + 1) == NULL || !buffer_append(output, text, length)) {
        return false;
    }
    /* A peer hangs up on what is no JSON, on all calls of everybody: no text of anybody's may bring that about. */
    text_make_utf8(output->data + begin);
    return buffer_append(output, "\n", 1);
}

struct json_object *ipc_request(const char *op) {
    struct json_object *request = json_object_new_object();
    if (request != NULL && !json_add_string(request, "op", op)) {
        json_object_put(request);
        return NULL;
    }
    return request;
}

static struct json_object *answer_with(int64_t id, bool ok) {
    struct json_object *answer = json_object_new_object();
    if (answer != NULL && !(json_add_int(answer, "id", id) && json_add_bool(answer, "ok", ok))) {
        json_object_put(answer);
        return NULL;
    }
    return answer;
}

struct json_object *ipc_answer(int64_t id) {
    return answer_with(id, true);
}

struct json_object *ipc_error_answer(int64_t id, const struct error *err) {
    struct json_object *answer = answer_with(id, false);
    if (answer != NULL && !(json_add_string(answer, "code", error_code_name(err->code)) &&
                            json_add_string(answer, "detail", err->message) &&
                            (err->told[0] == '\0' || json_add_string(answer, "told", err->told)))) {
        json_object_put(answer);
        return NULL;
    }
    return answer;
}

bool ipc_answer_ok(struct json_object *answer, struct error *err) {
    if (json_get_bool(answer, "ok", false)) {
        return true;
    }
    const char *detail = json_get_string(answer, "detail");
    const char *told = json_get_string(answer, "told");
    error_set(err, error_code_from_name(json_get_string(answer, "code")), "%s",
              detail == NULL ? "the provisioner answered without saying what is wrong" : detail);
    if (told != NULL) {
        error_veil(err, told);
    }
    return false;
}
