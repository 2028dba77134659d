#include "instance/mcp_tools.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"

#define REFERENCE_MAX_DEPTH 16

static const struct {
    const char *in_document;
    const char *in_request;
} methods[] = {{"get", "GET"}, {"post", "POST"}, {"put", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"}};

struct operation {
    const char *path;
    const char *method;
    struct json_object *description; /* the operation object */
};

/* ---- schemas ---- */

/* What "#/components/schemas/X" points to; the schema itself when it is no reference. Borrowed, may be NULL. */
static struct json_object *resolve(struct json_object *document, struct json_object *schema) {
    const char *reference = schema != NULL ? json_get_string(schema, "$ref") : NULL;
    struct json_object *found = NULL;
    if (reference == NULL) {
        return schema;
    }
    return strncmp(reference, "#/", 2) == 0 && json_pointer_get(document, reference + 1, &found) == 0 ? found : NULL;
}

/* A copy with every reference in it resolved. */
static struct json_object *inlined(struct json_object *document, struct json_object *schema, int depth) {
    schema = resolve(document, schema);
    if (depth > REFERENCE_MAX_DEPTH) {
        return json_object_new_object();
    }
    if (json_object_is_type(schema, json_type_object)) {
        struct json_object *copy = json_object_new_object();
        json_object_object_foreach(schema, name, value) {
            if (copy != NULL && !json_add(copy, name, inlined(document, value, depth + 1))) {
                json_object_put(copy);
                copy = NULL;
            }
        }
        return copy;
    }
    if (json_object_is_type(schema, json_type_array)) {
        struct json_object *copy = json_object_new_array();
        for (size_t i = 0; copy != NULL && i < json_object_array_length(schema); i++) {
            json_object_array_add(copy, inlined(document, json_object_array_get_idx(schema, i), depth + 1));
        }
        return copy;
    }
    return json_object_get(schema);
}

/* The schema of the JSON body, resolved; NULL if there is no body. */
static struct json_object *body_schema(struct json_object *document, struct json_object *operation) {
    struct json_object *schema = NULL;
    return json_pointer_get(operation, "/requestBody/content/application~1json/schema", &schema) == 0
               ? resolve(document, schema)
               : NULL;
}

/* ---- the list ---- */

static bool add_required(struct json_object *required, const char *name) {
    struct json_object *text = json_object_new_string(name);
    return text != NULL && json_object_array_add(required, text) == 0;
}

static bool add_parameters(struct json_object *document, struct json_object *operation, struct json_object *properties,
                           struct json_object *required) {
    struct json_object *parameters = json_get_array(operation, "parameters");
    for (size_t i = 0; parameters != NULL && i < json_object_array_length(parameters); i++) {
        struct json_object *parameter = json_object_array_get_idx(parameters, i);
        const char *name = json_get_string(parameter, "name");
        if (name != NULL && (!json_add(properties, name, inlined(document, json_get_object(parameter, "schema"), 0)) ||
                             (json_get_bool(parameter, "required", false) && !add_required(required, name)))) {
            return false;
        }
    }
    return true;
}

static bool add_body(struct json_object *document, struct json_object *operation, struct json_object *properties,
                     struct json_object *required) {
    struct json_object *schema = body_schema(document, operation);
    struct json_object *members = schema != NULL ? json_get_object(schema, "properties") : NULL;
    if (members == NULL) {
        return true;
    }
    json_object_object_foreach(members, name, member) {
        if (!json_add(properties, name, inlined(document, member, 0))) {
            return false;
        }
    }
    struct json_object *needed = json_get_array(schema, "required");
    for (size_t i = 0; needed != NULL && i < json_object_array_length(needed); i++) {
        if (!add_required(required, json_object_get_string(json_object_array_get_idx(needed, i)))) {
            return false;
        }
    }
    return true;
}

/* NULL: no memory. */
static struct json_object *input_schema(struct json_object *document, struct json_object *operation) {
    struct json_object *schema = json_object_new_object();
    struct json_object *properties = json_object_new_object();
    struct json_object *required = json_object_new_array();
    bool ok = schema != NULL && properties != NULL && required != NULL &&
              add_parameters(document, operation, properties, required) &&
              add_body(document, operation, properties, required) && json_add_string(schema, "type", "object") &&
              json_add(schema, "properties", json_object_get(properties)) &&
              json_add(schema, "required", json_object_get(required));
    json_object_put(properties);
    json_object_put(required);
    if (!ok) {
        json_object_put(schema);
        schema = NULL;
    }
    return schema;
}

static bool add_tool(struct json_object *document, const char *name, struct json_object *operation,
                     struct json_object *list) {
    struct json_object *tool = json_object_new_object();
    const char *description = json_get_string(operation, "description");
    bool ok = tool != NULL && json_add_string(tool, "name", name) &&
              json_add_string(tool, "title", json_get_string(operation, "summary")) &&
              json_add_string(tool, "description", description != NULL ? description : "") &&
              json_add(tool, "inputSchema", input_schema(document, operation)) &&
              json_object_array_add(list, json_object_get(tool)) == 0;
    json_object_put(tool);
    return ok;
}

/* Calls `each` for every operation until it says false; says whether it never did. */
static bool each_operation(struct json_object *document, bool (*each)(void *state, const struct operation *operation),
                           void *state) {
    struct json_object *paths = json_get_object(document, "paths");
    if (paths == NULL) {
        return true;
    }
    json_object_object_foreach(paths, path, item) {
        for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
            struct operation operation = {path, methods[i].in_request, json_get_object(item, methods[i].in_document)};
            if (operation.description != NULL && json_get_string(operation.description, "operationId") != NULL &&
                !each(state, &operation)) {
                return false;
            }
        }
    }
    return true;
}

struct listing {
    struct json_object *document;
    struct json_object *list;
};

static bool list_operation(void *state, const struct operation *operation) {
    struct listing *listing = state;
    return add_tool(listing->document, json_get_string(operation->description, "operationId"), operation->description,
                    listing->list);
}

struct json_object *mcp_tools_list(struct json_object *document) {
    struct listing listing = {document, json_object_new_array()};
    if (listing.list != NULL && !each_operation(document, list_operation, &listing)) {
        json_object_put(listing.list);
        listing.list = NULL;
    }
    return listing.list;
}

/* ---- a call ---- */

struct search {
    const char *name;
    struct operation found;
};

static bool is_other_operation(void *state, const struct operation *operation) {
    struct search *search = state;
    if (strcmp(json_get_string(operation->description, "operationId"), search->name) != 0) {
        return true;
    }
    search->found = *operation;
    return false;
}

static struct json_object *find_parameter(struct json_object *operation, const char *name) {
    struct json_object *parameters = json_get_array(operation, "parameters");
    for (size_t i = 0; parameters != NULL && i < json_object_array_length(parameters); i++) {
        struct json_object *parameter = json_object_array_get_idx(parameters, i);
        const char *own = json_get_string(parameter, "name");
        if (own != NULL && strcmp(own, name) == 0) {
            return parameter;
        }
    }
    return NULL;
}

/* Everything but unreserved characters is encoded (RFC 3986 §2.3). */
static void append_encoded(struct buffer *out, struct json_object *value) {
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    bool is_text = json_object_is_type(value, json_type_string);
    size_t length = 0;
    const char *text = is_text ? json_object_get_string(value) : json_text(value, &length);
    length = is_text ? (size_t)json_object_get_string_len(value) : length;
    for (size_t i = 0; text != NULL && i < length; i++) {
        if (text[i] != '\0' && strchr(unreserved, text[i]) != NULL) {
            buffer_append(out, text + i, 1);
        } else {
            buffer_append_format(out, "%%%02X", (unsigned char)text[i]);
        }
    }
}

static void append_query(struct buffer *query, const char *name, struct json_object *value) {
    bool is_list = json_object_is_type(value, json_type_array);
    size_t count = is_list ? json_object_array_length(value) : 1;
    for (size_t i = 0; i < count; i++) {
        buffer_append_format(query, "%c%s=", query->length == 0 ? '?' : '&', name);
        append_encoded(query, is_list ? json_object_array_get_idx(value, i) : value);
    }
}

/* "/execute/{process_id}/status" with the arguments in it. False: one is missing. */
static bool append_path(struct buffer *out, const char *path, struct json_object *arguments, struct error *err) {
    while (*path != '\0') {
        size_t plain = strcspn(path, "{");
        buffer_append(out, path, plain);
        path += plain;
        if (*path == '{') {
            size_t length = strcspn(path, "}");
            char name[64] = "";
            memcpy(name, path + 1, length - 1 < sizeof name - 1 ? length - 1 : sizeof name - 1);
            struct json_object *value = NULL;
            if (arguments == NULL || !json_object_object_get_ex(arguments, name, &value) || value == NULL) {
                return error_set(err, ERROR_INVALID, "the argument `%s` is missing", name);
            }
            append_encoded(out, value);
            path += length + (path[length] == '}');
        }
    }
    return true;
}

/* Sorts the arguments into query and body. */
static bool sort_arguments(struct json_object *document, const struct operation *operation,
                           struct json_object *arguments, struct buffer *query, struct json_object *body,
                           struct error *err) {
    struct json_object *schema = body_schema(document, operation->description);
    struct json_object *members = schema != NULL ? json_get_object(schema, "properties") : NULL;
    if (arguments == NULL) {
        return true;
    }
    json_object_object_foreach(arguments, name, value) {
        struct json_object *parameter = find_parameter(operation->description, name);
        const char *place = parameter != NULL ? json_get_string(parameter, "in") : NULL;
        if (place != NULL && strcmp(place, "query") == 0) {
            if (value != NULL) {
                append_query(query, name, value);
            }
        } else if (place == NULL && members != NULL && json_object_object_get_ex(members, name, NULL)) {
            if (json_object_object_add(body, name, json_object_get(value)) != 0) {
                return error_set(err, ERROR_INTERNAL, "out of memory");
            }
        } else if (place == NULL) {
            return error_set(err, ERROR_INVALID, "there is no argument `%s`", name);
        }
    }
    return true;
}

bool mcp_tool_call_make(struct json_object *document, const char *name, struct json_object *arguments,
                        struct mcp_tool_call *call, struct error *err) {
    *call = (struct mcp_tool_call){0};
    struct search search = {.name = name};
    if (each_operation(document, is_other_operation, &search)) {
        return error_set(err, ERROR_NOT_FOUND, "Unknown tool: %s", name);
    }
    cleanup_buffer struct buffer target = {0};
    cleanup_buffer struct buffer query = {0};
    cleanup_json struct json_object *body = json_object_new_object();
    if (body == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!append_path(&target, search.found.path, arguments, err) ||
        !sort_arguments(document, &search.found, arguments, &query, body, err)) {
        return false;
    }
    buffer_append(&target, query.data, query.length);
    if (body_schema(document, search.found.description) != NULL) {
        const char *text = json_text(body, NULL);
        call->json = text != NULL ? strdup(text) : NULL;
    }
    call->method = search.found.method;
    call->target = query.failed ? NULL : buffer_take(&target);
    if (call->target == NULL || (call->json == NULL && body_schema(document, search.found.description) != NULL)) {
        mcp_tool_call_free(call);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

void mcp_tool_call_free(struct mcp_tool_call *call) {
    free(call->target);
    free(call->json);
    *call = (struct mcp_tool_call){0};
}
