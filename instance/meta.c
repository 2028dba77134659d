/* meta.c - what an instance says about itself. Open to everybody: nothing here tells anything about its user. */
#include "common/openapi_document.h"
#include "instance/routes.h"

static const char docs_page[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<title>Open Terminal</title>\n"
    "<link rel=\"stylesheet\" href=\"https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css\">\n"
    "<div id=\"api\"></div>\n"
    "<script src=\"https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js\"></script>\n"
    "<script>SwaggerUIBundle({url: '/openapi.json', dom_id: '#api'})</script>\n";

static const char redoc_page[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<title>Open Terminal</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<redoc spec-url=\"/openapi.json\"></redoc>\n"
    "<script src=\"https://cdn.jsdelivr.net/npm/redoc@2/bundles/redoc.standalone.js\"></script>\n";

static void get_health(struct http_request *request) {
    static const char body[] = "{\"status\":\"ok\"}";
    http_respond_static(request, 200, "application/json", body, sizeof body - 1);
}

/* What Open WebUI asks before it offers shells and notebooks. */
static void get_config(struct http_request *request) {
    static const char body[] = "{\"features\":{\"terminal\":true,\"notebooks\":false,\"system\":false}}";
    http_respond_static(request, 200, "application/json", body, sizeof body - 1);
}

static void get_openapi(struct http_request *request) {
    http_respond_static(request, 200, "application/json", openapi_document, openapi_document_length);
}

static void get_docs(struct http_request *request) {
    http_respond_static(request, 200, "text/html; charset=utf-8", docs_page, sizeof docs_page - 1);
}

static void get_redoc(struct http_request *request) {
    http_respond_static(request, 200, "text/html; charset=utf-8", redoc_page, sizeof redoc_page - 1);
}

const struct http_route meta_routes[] = {
    {.method = "GET", .pattern = "/health", .is_open = true, .handle = get_health},
    {.method = "GET", .pattern = "/api/config", .is_open = true, .handle = get_config},
    {.method = "GET", .pattern = "/openapi.json", .is_open = true, .handle = get_openapi},
    {.method = "GET", .pattern = "/docs", .is_open = true, .handle = get_docs},
    {.method = "GET", .pattern = "/redoc", .is_open = true, .handle = get_redoc},
    HTTP_ROUTES_END,
};
