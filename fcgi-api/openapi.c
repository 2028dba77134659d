#include "fcgi-api/openapi.h"

#include <string.h>

#include "common/openapi_document.h"

/* Every operation below `paths` or `webhooks`: {path: {method: {…, "security": …}}}. */
static void strip_operations(struct json_object *paths) {
    if (paths == NULL) {
        return;
    }
    json_object_object_foreach(paths, path, item) {
        (void)path;
        if (!json_object_is_type(item, json_type_object)) {
            continue;
        }
        json_object_object_foreach(item, method, operation) {
            (void)method;
            if (json_object_is_type(operation, json_type_object)) {
                json_object_object_del(operation, "security");
            }
        }
    }
}

void openapi_strip_security(struct json_object *document) {
    json_object_object_del(document, "security");
    struct json_object *components = json_get_object(document, "components");
    if (components != NULL) {
        json_object_object_del(components, "securitySchemes");
    }
    strip_operations(json_get_object(document, "paths"));
    strip_operations(json_get_object(document, "webhooks"));
}

char *openapi_built_in(struct error *err) {
    cleanup_json struct json_object *document = json_parse_object(openapi_document, openapi_document_length, err);
    if (document == NULL) {
        error_prefix(err, "the built-in OpenAPI document");
        return NULL;
    }
    openapi_strip_security(document);
    const char *text = json_text(document, NULL);
    char *copy = text == NULL ? NULL : strdup(text);
    if (copy == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return copy;
}
