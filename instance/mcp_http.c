/* mcp_http.c - /mcp: the Model Context Protocol over HTTP ("Streamable HTTP"), where `open-terminal mcp` offers it.
 * Every message is a POST of its own and gets its answer as JSON; there are no sessions and no streams of events, which
 * the protocol leaves to the server. */
#include <stdlib.h>
#include <string.h>

#include "instance/cors.h"
#include "instance/mcp.h"
#include "instance/options.h"
#include "instance/routes.h"

struct exchange {
    struct http_request *request;
    struct buffer body;
};

static void release(void *state) {
    struct exchange *exchange = state;
    struct mcp *mcp = http_instance(exchange->request)->mcp;
    if (mcp != NULL) { /* else the instance is stopping, and nothing is asked any more */
        mcp_forget(mcp, exchange);
    }
    buffer_free(&exchange->body);
    free(exchange);
}

static void begin(struct http_request *request) {
    const char *origin = http_header(request, "Origin");
    const char *revision = http_header(request, "MCP-Protocol-Version");
    /* A page from elsewhere must not use this server through the name of one of its own (DNS rebinding). */
    if (origin != NULL && !cors_allows(http_instance(request)->cors_allowed_origins, origin)) {
        http_respond_error(request, 403, "Disallowed origin");
        return;
    }
    if (revision != NULL && !mcp_speaks(revision)) {
        http_respond_error(request, 400, "Unsupported MCP-Protocol-Version");
        return;
    }
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    exchange->request = request;
    http_set_state(request, exchange, release);
}

static size_t take(struct http_request *request, const char *bytes, size_t length) {
    struct exchange *exchange = http_state(request);
    if (exchange->body.length + length > HTTP_JSON_BODY_MAX_BYTES) {
        http_respond_error(request, 413, "Request body is larger than %d bytes", HTTP_JSON_BODY_MAX_BYTES);
    } else if (!buffer_append(&exchange->body, bytes, length)) {
        http_respond_json(request, 500, NULL);
    }
    return length;
}

static void reply(void *state, struct json_object *answer) {
    struct http_request *request = ((struct exchange *)state)->request;
    if (answer == NULL) {
        http_respond_static(request, 202, NULL, "", 0);
        return;
    }
    /* What could not be read as a message at all is the sender's mistake on this level too. */
    bool is_bad = json_get_object(answer, "error") != NULL && json_object_object_get(answer, "id") == NULL;
    http_respond_json(request, is_bad ? 400 : 200, answer);
}

static void handle(struct http_request *request) {
    struct exchange *exchange = http_state(request);
    mcp_receive(http_instance(request)->mcp, exchange->body.data != NULL ? exchange->body.data : "",
                exchange->body.length, reply, exchange);
}

static bool is_wanted(const struct instance *instance) {
    return instance->options->is_mcp && !instance->options->is_stdio;
}

static const struct http_body_reader body_reader = {.begin = begin, .take = take};

const struct http_route mcp_routes[] = {
    {.method = "POST",
     .pattern = "/mcp",
     .body = HTTP_BODY_STREAMED,
     .handle = handle,
     .reader = &body_reader,
     .is_offered = is_wanted},
    HTTP_ROUTES_END,
};
