/* The getters that check: what FastAPI would refuse is noted in request->problems in its words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/http_request.h"
#include "instance/json_lax.h"
#include "instance/utf8.h"

#define ECHOED_INPUT_MAX_BYTES (64 * 1024)

void http_invalid_at(struct http_request *request, const char *type, struct json_object *location, const char *message,
                     struct json_object *input, struct json_object *context) {
    struct json_object *problem = json_object_new_object();
    if (request->problems == NULL) {
        request->problems = json_object_new_array();
    }
    bool is_noted = problem != NULL && request->problems != NULL && json_add_string(problem, "type", type);
    is_noted = is_noted && json_add(problem, "loc", json_object_get(location)) &&
               json_add_string(problem, "msg", message) && json_add(problem, "input", json_object_get(input)) &&
               (context == NULL || json_add(problem, "ctx", json_object_get(context))) &&
               json_object_array_add(request->problems, problem) == 0;
    json_object_put(location);
    json_object_put(input);
    json_object_put(context);
    if (!is_noted) {
        json_object_put(problem);
        http_respond(request, 500, NULL);
    }
}

void http_invalid(struct http_request *request, const char *type, const char *place, const char *name,
                  const char *message, struct json_object *input, struct json_object *context) {
    struct json_object *location = json_object_new_array_ext(2);
    if (location != NULL) {
        json_object_array_add(location, json_object_new_string(place));
        if (name != NULL) {
            json_object_array_add(location, json_object_new_string(name));
        }
    }
    http_invalid_at(request, type, location, message, input, context);
}

/* The body as a whole: what FastAPI tells after the problems of the query. */
static void note_bad_body(struct http_request *request) {
    if (request->body_problem == HTTP_BODY_MISSING) {
        http_invalid(request, "missing", "body", NULL, "Field required", NULL, NULL);
    } else if (request->body_problem == HTTP_BODY_NO_OBJECT) {
        http_invalid(request, "model_attributes_type", "body", NULL,
                     "Input should be a valid dictionary or object to extract fields from",
                     json_object_get(request->bad_body), NULL);
    }
    request->body_problem = HTTP_BODY_FINE;
}

bool http_refused_as_invalid(struct http_request *request) {
    note_bad_body(request);
    if (request->response != NULL) {
        return true; /* memory ran out while a problem was noted */
    }
    if (request->problems == NULL) {
        return false;
    }
    struct json_object *body = json_object_new_object();
    if (body != NULL && !json_add(body, "detail", request->problems)) {
        json_object_put(body);
        body = NULL;
    } else if (body == NULL) {
        json_object_put(request->problems);
    }
    request->problems = NULL;
    http_respond_json(request, 422, body);
    return true;
}

struct json_object *http_echo(const char *text, size_t length) {
    cleanup_buffer struct buffer shown = {0};
    for (size_t at = 0; at < length && length <= ECHOED_INPUT_MAX_BYTES;) {
        size_t size = utf8_decode(text + at, length - at, NULL);
        buffer_append(&shown, size > 0 ? text + at : "\xEF\xBF\xBD", size > 0 ? size : 3);
        at += size > 0 ? size : 1;
    }
    return shown.failed || length > ECHOED_INPUT_MAX_BYTES
               ? NULL
               : json_object_new_string_len(shown.length > 0 ? shown.data : "", (int)shown.length);
}

static void missing(struct http_request *request, const char *place, const char *name, struct json_object *input) {
    http_invalid(request, "missing", place, name, "Field required", input, NULL);
}

bool http_query_text(struct http_request *request, const char *name, bool required, const char **value) {
    const char *text = http_query(request, name, NULL);
    if (text == NULL && required) {
        missing(request, "query", name, NULL);
        return false;
    }
    *value = text != NULL ? text : *value;
    return true;
}

static void out_of_bounds(struct http_request *request, const char *name, struct json_object *input, bool is_too_small,
                          struct json_object *bound) {
    char message[96];
    snprintf(message, sizeof message, "Input should be %s than or equal to %s", is_too_small ? "greater" : "less",
             json_object_get_string(bound));
    size_t length = strlen(message);
    if (length > 2 && strcmp(message + length - 2, ".0") == 0) {
        message[length - 2] = '\0'; /* the sentence says 300, the context 300.0 */
    }
    struct json_object *context = json_object_new_object();
    if (context != NULL) {
        json_add(context, is_too_small ? "ge" : "le", bound);
    } else {
        json_object_put(bound);
    }
    http_invalid(request, is_too_small ? "greater_than_equal" : "less_than_equal", "query", name, message, input,
                 context);
}

bool http_query_integer(struct http_request *request, const char *name, int64_t minimum, int64_t maximum,
                        int64_t *value) {
    size_t length;
    const char *text = http_query(request, name, &length);
    if (text == NULL) {
        return true;
    }
    int64_t number;
    if (!json_lax_number(text, length, &number)) {
        http_invalid(request, "int_parsing", "query", name,
                     "Input should be a valid integer, unable to parse string as an integer", http_echo(text, length),
                     NULL);
        return false;
    }
    if (number < minimum || number > maximum) {
        bool is_too_small = number < minimum;
        out_of_bounds(request, name, http_echo(text, length), is_too_small,
                      json_object_new_int64(is_too_small ? minimum : maximum));
        return false;
    }
    *value = number;
    return true;
}

/* A number as Python writes a float: 300.0. */
static struct json_object *python_float(double number) {
    char text[32];
    snprintf(text, sizeof text, number == (double)(int64_t)number ? "%.1f" : "%g", number);
    return json_object_new_double_s(number, text);
}

bool http_query_number(struct http_request *request, const char *name, double minimum, double maximum, double *value) {
    size_t length;
    const char *text = http_query(request, name, &length);
    if (text == NULL) {
        return true;
    }
    double number;
    if (!json_lax_decimal(text, length, &number)) {
        http_invalid(request, "float_parsing", "query", name,
                     "Input should be a valid number, unable to parse string as a number", http_echo(text, length),
                     NULL);
        return false;
    }
    if (!(number >= minimum && number <= maximum)) {
        bool is_too_small = number < minimum; /* "nan" is not */
        out_of_bounds(request, name, http_echo(text, length), is_too_small,
                      python_float(is_too_small ? minimum : maximum));
        return false;
    }
    *value = number;
    return true;
}

bool http_query_boolean(struct http_request *request, const char *name, bool *value) {
    size_t length;
    const char *text = http_query(request, name, &length);
    if (text == NULL) {
        return true;
    }
    if (strlen(text) == length && json_lax_word(text, value)) {
        return true;
    }
    http_invalid(request, "bool_parsing", "query", name, "Input should be a valid boolean, unable to interpret input",
                 http_echo(text, length), NULL);
    return false;
}

/* Finds a member of the body. False if that is already an answer: it is absent and required, or absent and not. */
static bool find_member(struct http_request *request, const char *name, bool required, struct json_object **member,
                        bool *result) {
    if (request->json == NULL) { /* http_refused_as_invalid() notes why */
        *result = false;
        return false;
    }
    bool is_present = json_object_object_get_ex(request->json, name, member);
    if (!is_present && required) {
        missing(request, "body", name, json_object_get(request->json));
        *result = false;
        return false;
    }
    if (!required && *member == NULL) {
        *result = true;
        return false;
    }
    return true;
}

bool http_json_text(struct http_request *request, const char *name, bool required, const char **value, size_t *length) {
    struct json_object *member = NULL;
    bool result = true;
    if (!find_member(request, name, required, &member, &result)) {
        return result;
    }
    if (!json_object_is_type(member, json_type_string)) {
        http_invalid(request, "string_type", "body", name, "Input should be a valid string", json_object_get(member),
                     NULL);
        return false;
    }
    *value = json_object_get_string(member);
    if (length != NULL) {
        *length = (size_t)json_object_get_string_len(member);
    }
    return true;
}

bool http_json_array(struct http_request *request, const char *name, bool required, struct json_object **value) {
    struct json_object *member = NULL;
    bool result = true;
    if (!find_member(request, name, required, &member, &result)) {
        return result;
    }
    if (!json_object_is_type(member, json_type_array)) {
        http_invalid(request, "list_type", "body", name, "Input should be a valid list", json_object_get(member), NULL);
        return false;
    }
    *value = member;
    return true;
}

bool http_json_integer(struct http_request *request, const char *name, bool required, int64_t *value) {
    struct json_object *member = NULL;
    bool result = true;
    if (!find_member(request, name, required, &member, &result)) {
        return result;
    }
    struct json_problem problem;
    if (!json_lax_integer(member, value, &problem)) {
        http_invalid(request, problem.type, "body", name, problem.message, json_object_get(member), NULL);
        return false;
    }
    return true;
}

static void refuse_syntax(struct http_request *request, const struct http_body_syntax *syntax) {
    struct json_object *location = json_object_new_array_ext(2);
    struct json_object *context = json_object_new_object();
    if (location != NULL && context != NULL) {
        json_object_array_add(location, json_object_new_string("body"));
        json_object_array_add(location, json_object_new_int64((int64_t)syntax->position));
        json_add_string(context, "error", syntax->message);
    }
    http_invalid_at(request, "json_invalid", location, "JSON decode error", json_object_new_object(), context);
}

bool http_parse_json_body(struct http_request *request) {
    struct http_body_syntax syntax = {0};
    struct json_object *value = NULL;
    enum http_body_problem problem =
        http_body_parse(request->body.data != NULL ? request->body.data : "", request->body.length,
                        http_header(request, "Content-Type"), &value, &syntax);
    buffer_free(&request->body);
    switch (problem) {
    case HTTP_BODY_FINE:
        request->json = value;
        return true;
    case HTTP_BODY_MISSING:
    case HTTP_BODY_NO_OBJECT:
        request->body_problem = problem;
        request->bad_body = value;
        if (json_object_is_type(value, json_type_string)) {
            request->bad_body = http_echo(json_object_get_string(value), (size_t)json_object_get_string_len(value));
            json_object_put(value);
        }
        return true;
    case HTTP_BODY_NO_TEXT:
        http_respond_error(request, 400, "There was an error parsing the body");
        return false;
    case HTTP_BODY_NO_JSON:
        refuse_syntax(request, &syntax);
        http_refused_as_invalid(request);
        return false;
    case HTTP_BODY_OUT_OF_MEMORY:
        break;
    }
    http_respond(request, 500, NULL);
    return false;
}
