#include "instance/router.h"

#include <stdlib.h>
#include <string.h>

#include "instance/http_request.h"
#include "instance/routes.h"

static const struct http_route *const tables[] = {
    files_routes, execute_routes, terminal_routes, meta_routes, port_routes, proxy_routes, notebook_routes, mcp_routes,
};

#define TABLE_COUNT (sizeof tables / sizeof tables[0])

/* A segment of a path against a literal one of a pattern: percent-encoded letters are the letters they stand for
 * (RFC 3986 §6.2.2.2). */
static bool same_segment(const char *literal, size_t literal_length, const char *segment, size_t length) {
    if (memchr(segment, '%', length) == NULL) {
        return length == literal_length && memcmp(segment, literal, length) == 0;
    }
    char decoded[64];
    if (length >= sizeof decoded) {
        return false;
    }
    size_t decoded_length = url_decode(segment, length, false, decoded);
    return decoded_length == literal_length && memcmp(decoded, literal, literal_length) == 0;
}

int router_match(const char *pattern, const char *path, size_t length, struct http_path_parameter *parameters,
                 size_t maximum, const char **rest) {
    size_t count = 0;
    const char *end = path + length;
    while (*pattern == '/') {
        if (path == end || *path != '/') {
            return -1;
        }
        const char *segment = ++path;
        size_t pattern_length = strcspn(++pattern, "/");
        bool takes_rest = memmem(pattern, pattern_length, "...", 3) != NULL;
        const char *slash = takes_rest ? NULL : memchr(segment, '/', (size_t)(end - segment));
        path = slash != NULL ? slash : end;
        size_t segment_length = (size_t)(path - segment);
        if (*pattern != '{') {
            if (!same_segment(pattern, pattern_length, segment, segment_length)) {
                return -1;
            }
        } else if (count == maximum || (segment_length == 0 && !takes_rest)) {
            return -1;
        } else {
            parameters[count++] = (struct http_path_parameter){
                .name = pattern + 1,
                .name_length = strcspn(pattern + 1, ".}"),
                .value = (char *)segment,
                .value_length = segment_length,
            };
            *rest = takes_rest ? segment : *rest;
        }
        pattern += pattern_length;
    }
    return path == end ? (int)count : -1;
}

/* Replaces the encoded values, which point into the target, by decoded copies. */
static bool decode_parameters(struct http_request *request, const struct http_path_parameter *found, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char *value = malloc(found[i].value_length + 1);
        if (value == NULL) {
            return false;
        }
        request->parameters[i] = found[i];
        request->parameters[i].value = value;
        request->parameters[i].value_length = url_decode(found[i].value, found[i].value_length, false, value);
        request->parameter_count = i + 1;
    }
    return true;
}

static void add_method(char *allow, size_t allow_size, const char *method) {
    size_t used = strlen(allow);
    size_t length = strlen(method);
    if (strstr(allow, method) != NULL || used + length + 3 > allow_size) {
        return;
    }
    memcpy(allow + used, ", ", 2);
    used += used > 0 ? 2 : 0;
    memcpy(allow + used, method, length + 1);
}

static bool is_offered(const struct http_route *route, const struct instance *instance) {
    return route->is_offered == NULL || route->is_offered(instance);
}

enum router_result router_find(struct http_request *request, char *allow, size_t allow_size) {
    enum router_result result = ROUTER_NO_PATH;
    size_t length = strlen(request->target);
    allow[0] = '\0';
    for (size_t table = 0; table < TABLE_COUNT; table++) {
        for (const struct http_route *route = tables[table]; route->pattern != NULL; route++) {
            struct http_path_parameter found[HTTP_PATH_PARAMETERS_MAX];
            const char *rest = NULL;
            int count = router_match(route->pattern, request->target, length, found, HTTP_PATH_PARAMETERS_MAX, &rest);
            if (count < 0 || !is_offered(route, request->instance)) {
                continue;
            }
            if (strcmp(route->method, "*") != 0 && strcmp(route->method, request->method) != 0) {
                add_method(allow, allow_size, route->method);
                result = ROUTER_NO_METHOD;
                continue;
            }
            request->route = route;
            request->raw_rest = rest;
            return decode_parameters(request, found, (size_t)count) ? ROUTER_FOUND : ROUTER_NO_MEMORY;
        }
    }
    return result;
}

bool router_knows(const struct instance *instance, const char *path, size_t length) {
    for (size_t table = 0; table < TABLE_COUNT; table++) {
        for (const struct http_route *route = tables[table]; route->pattern != NULL; route++) {
            struct http_path_parameter found[HTTP_PATH_PARAMETERS_MAX];
            const char *rest = NULL;
            if (is_offered(route, instance) &&
                router_match(route->pattern, path, length, found, HTTP_PATH_PARAMETERS_MAX, &rest) >= 0) {
                return true;
            }
        }
    }
    return false;
}
