#include "instance/cors.h"

#include <string.h>

#include "instance/instance.h"

static bool allows_all(const char *allowed_origins) {
    return allowed_origins == NULL || strcmp(allowed_origins, "*") == 0;
}

bool cors_allows(const char *allowed_origins, const char *origin) {
    if (allows_all(allowed_origins)) {
        return true;
    }
    size_t origin_length = strlen(origin);
    while (*allowed_origins != '\0') {
        allowed_origins += strspn(allowed_origins, ", \t");
        size_t length = strcspn(allowed_origins, ", \t");
        if (length > 0 && length == origin_length && memcmp(allowed_origins, origin, length) == 0) {
            return true;
        }
        allowed_origins += length;
    }
    return false;
}

bool cors_answer_preflight(struct http_request *request) {
    const char *origin = http_header(request, "Origin");
    if (strcmp(request->method, "OPTIONS") != 0 || origin == NULL ||
        http_header(request, "Access-Control-Request-Method") == NULL) {
        return false;
    }
    if (!cors_allows(request->instance->cors_allowed_origins, origin)) {
        http_respond_error(request, 400, "Disallowed CORS origin");
        return true;
    }
    http_add_header(request, "Access-Control-Allow-Methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
    http_add_header(request, "Access-Control-Max-Age", "600");
    const char *headers = http_header(request, "Access-Control-Request-Headers");
    if (headers != NULL) {
        http_add_header(request, "Access-Control-Allow-Headers", headers);
    }
    http_respond_static(request, 200, "text/plain; charset=utf-8", "OK", 2);
    return true;
}

/* Credentials go with a named origin only, so a request with cookies, and a preflight, gets its own origin back. */
void cors_add_headers(const struct http_request *request, struct MHD_Response *response) {
    const char *origin = http_header(request, "Origin");
    const char *allowed = request->instance->cors_allowed_origins;
    if (origin == NULL) {
        return;
    }
    bool is_named =
        !allows_all(allowed) || http_header(request, "Cookie") != NULL || strcmp(request->method, "OPTIONS") == 0;
    if (is_named) {
        MHD_add_response_header(response, "Vary", "Origin");
    }
    if (cors_allows(allowed, origin)) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", is_named ? origin : "*");
        MHD_add_response_header(response, "Access-Control-Allow-Credentials", "true");
    }
}
