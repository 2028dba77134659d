#include "fcgi-api/body.h"

#include <string.h>

#include "common/cleanup.h"

void body_refuse(struct answer *answer, const char *name, const char *type, const char *message) {
    cleanup_json struct json_object *entries = NULL;
    if (answer_entry_add(&entries, "body", name, type, message, NULL)) {
        answer_unprocessable(answer, entries);
    } /* else without a status: answer_write() says 500 */
}

static void refuse_unread(struct answer *answer, int status) {
    answer_detail(answer, status,
                  status == 413   ? "The body is longer than 65536 bytes"
                  : status == 408 ? "The body was not complete in time"
                  : status == 400 ? "The body ended early"
                                  : "The body cannot be read");
}

struct json_object *body_read(const struct request *request, bool may_be_absent, struct answer *answer) {
    struct error err = {0};
    cleanup_buffer struct buffer text = {0};
    int status = request->read_body == NULL ? 0 : request->read_body(request->body_argument, BODY_MAX_BYTES, &text);
    if (status != 0) {
        refuse_unread(answer, status);
        return NULL;
    }
    if (text.length == 0) {
        if (may_be_absent) {
            return json_object_new_object(); /* NULL without a status: answer_write() says 500 */
        }
        body_refuse(answer, NULL, "missing", "Field required");
        return NULL;
    }
    cleanup_json struct json_object *body = json_parse(text.data, text.length, &err);
    if (err.code != ERROR_NONE) {
        struct error refusal;
        error_set(&refusal, err.code, "The body is %s", err.message);
        answer_error(answer, &refusal);
        return NULL;
    }
    if (!json_object_is_type(body, json_type_object)) {
        body_refuse(answer, NULL, "dict_type", "Input should be a valid dictionary");
        return NULL;
    }
    if (json_depth(body) > BODY_MAX_DEPTH) {
        answer_detail(answer, 400, "The body is nested too deeply");
        return NULL;
    }
    return steal_pointer(&body);
}

static const struct body_field *field_called(const struct body_field *fields, const char *name) {
    for (; fields->name != NULL; fields++) {
        if (strcmp(fields->name, name) == 0) {
            return fields;
        }
    }
    return NULL;
}

static bool add_one(const struct body_field *field, struct json_object *body, struct json_object *request,
                    struct answer *answer) {
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(body, field->name, &value) || value == NULL) {
        if (field->is_required) {
            body_refuse(answer, field->name, "missing", "Field required");
        }
        return !field->is_required;
    }
    if (field->type == BODY_TEXT && json_get_string(body, field->name) == NULL) {
        body_refuse(answer, field->name, "string_type", "Input should be a valid string");
        return false;
    }
    if (field->type == BODY_SWITCH && !json_object_is_type(value, json_type_boolean)) {
        body_refuse(answer, field->name, "bool_type", "Input should be a valid boolean");
        return false;
    }
    return json_add(request, field->name, json_object_get(value));
}

bool body_add_fields(struct json_object *body, const struct body_field *fields, struct json_object *request,
                     struct answer *answer) {
    json_object_object_foreach(body, name, value) {
        (void)value;
        if (field_called(fields, name) == NULL) {
            body_refuse(answer, name, "extra_forbidden", "Extra inputs are not permitted");
            return false;
        }
    }
    bool good = true;
    for (; good && fields->name != NULL; fields++) {
        good = add_one(fields, body, request, answer);
    }
    return good;
}

struct json_object *body_policy_data(struct json_object *body, struct answer *answer) {
    struct json_object *data = NULL;
    json_object_object_del(body, "id");
    if (!json_object_object_get_ex(body, "data", &data)) {
        return body;
    }
    if (!json_object_is_type(data, json_type_object)) {
        body_refuse(answer, "data", "dict_type", "Input should be a valid dictionary");
        return NULL;
    }
    json_object_object_foreach(body, name, value) {
        (void)value;
        if (strcmp(name, "data") != 0) {
            body_refuse(answer, name, "extra_forbidden", "Extra inputs are not permitted");
            return NULL;
        }
    }
    return data;
}
