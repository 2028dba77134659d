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

static bool is_preflight(const struct http_request *request) {
    return strcmp(request->method, "OPTIONS") == 0 && http_header(request, "Origin") != NULL &&
           http_header(request, "Access-Control-Request-Method") != NULL;
}

/* Which methods there are is told, a space before each but the first. */
static bool has_method(const char *methods, const char *method) {
    size_t length = strlen(method);
    for (const char *at = methods; length > 0 && (at = strstr(at, method)) != NULL; at += length) {
        if ((at == methods || at[-1] == ' ') && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

bool cors_answer_preflight(struct http_request *request) {
    static const char methods[] = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
    static const char *const answers[] = {"OK", "Disallowed CORS origin", "Disallowed CORS method",
                                          "Disallowed CORS origin, method"};
    if (!is_preflight(request)) {
        return false;
    }
    bool is_foreign = !cors_allows(request->instance->cors_allowed_origins, http_header(request, "Origin"));
    bool is_odd = !has_method(methods, http_header(request, "Access-Control-Request-Method"));
    const char *answer = answers[(is_foreign ? 1 : 0) + (is_odd ? 2 : 0)];
    http_add_header(request, "Access-Control-Allow-Methods", methods);
    http_add_header(request, "Access-Control-Max-Age", "600");
    const char *headers = http_header(request, "Access-Control-Request-Headers");
    if (headers != NULL) {
        http_add_header(request, "Access-Control-Allow-Headers", headers);
    }
    http_respond_static(request, is_foreign || is_odd ? 400 : 200, "text/plain; charset=utf-8", answer, strlen(answer));
    return true;
}

/* Credentials go with a named origin only, so a request with cookies, and a preflight, gets its own origin back. */
void cors_add_headers(const struct http_request *request, struct MHD_Response *response) {
    const char *origin = http_header(request, "Origin");
    const char *allowed = request->instance->cors_allowed_origins;
    if (origin == NULL) {
        return;
    }
    bool is_named = !allows_all(allowed) || http_header(request, "Cookie") != NULL || is_preflight(request);
    if (is_named) {
        MHD_add_response_header(response, "Vary", "Origin");
    }
    if (cors_allows(allowed, origin)) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", is_named ? origin : "*");
    }
    MHD_add_response_header(response, "Access-Control-Allow-Credentials", "true");
}
