#include "instance/mcp.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/base64.h"
#include "instance/mcp_tools.h"
#include "instance/options.h"
#include "instance/self_call.h"
#include "instance/utf8.h"

/* Newest first: what a client that asks for something else is offered. */
static const char *const revisions[] = {"2025-06-18", "2025-03-26", "2024-11-05"};

enum {
    CODE_PARSE = -32700,
    CODE_REQUEST = -32600,
    CODE_METHOD = -32601,
    CODE_PARAMETERS = -32602,
    CODE_INTERNAL = -32603
};

/* A request that waits for an answer of our own server. */
struct pending {
    struct mcp *mcp;
    struct json_object *message;
    struct self_call *call;
    void (*reply)(void *state, struct json_object *answer);
    void *state;
    struct pending *previous;
    struct pending *next;
};

struct mcp {
    struct instance *instance;
    struct json_object *document; /* openapi.json, once it was needed */
    struct pending *first;
};

struct mcp *mcp_new(struct instance *instance) {
    struct mcp *mcp = calloc(1, sizeof *mcp);
    if (mcp != NULL) {
        mcp->instance = instance;
    }
    return mcp;
}

static void free_pending(struct pending *pending) {
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        pending->mcp->first = pending->next;
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    }
    if (pending->call != NULL) {
        self_call_cancel(pending->call);
    }
    json_object_put(pending->message);
    free(pending);
}

void mcp_free(struct mcp *mcp) {
    if (mcp == NULL) {
        return;
    }
    while (mcp->first != NULL) {
        free_pending(mcp->first);
    }
    json_object_put(mcp->document);
    free(mcp);
}

void mcp_forget(struct mcp *mcp, const void *state) {
    struct pending *next;
    for (struct pending *pending = mcp->first; pending != NULL; pending = next) {
        next = pending->next;
        if (pending->state == state) {
            free_pending(pending);
        }
    }
}

bool mcp_speaks(const char *revision) {
    for (size_t i = 0; i < sizeof revisions / sizeof revisions[0]; i++) {
        if (strcmp(revision, revisions[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- answers ---- */

/* {"jsonrpc": "2.0", "id": …, name: content}; takes `content` over. NULL: no memory. */
static struct json_object *make_answer(struct json_object *id, const char *name, struct json_object *content) {
    struct json_object *answer = json_object_new_object();
    bool ok = answer != NULL && json_add_string(answer, "jsonrpc", "2.0") &&
              json_object_object_add(answer, "id", json_object_get(id)) == 0;
    if (ok && json_add(answer, name, content)) {
        return answer;
    }
    if (!ok) {
        json_object_put(content);
    }
    json_object_put(answer);
    return NULL;
}

static struct json_object *make_error(struct json_object *id, int code, const char *message) {
    struct json_object *error = json_object_new_object();
    if (error != NULL) {
        json_add_int(error, "code", code);
        json_add_string(error, "message", message);
    }
    return make_answer(id, "error", error);
}

static struct json_object *id_of(const struct pending *pending) {
    return json_object_object_get(pending->message, "id");
}

static void answer_pending(struct pending *pending, struct json_object *answer) {
    void (*reply)(void *state, struct json_object *answer) = pending->reply;
    void *state = pending->state;
    free_pending(pending);
    reply(state, answer);
}

/* ---- the result of a tool ---- */

/* {"type": "text", "text": …}, or an image. NULL: no memory. */
static struct json_object *make_content(struct self_call_answer *answer) {
    struct json_object *content = json_object_new_object();
    struct buffer *body = &answer->body;
    size_t type_length = strcspn(answer->content_type, ";");
    bool is_image = strncmp(answer->content_type, "image/", 6) == 0;
    struct buffer text = {0};
    if (is_image || !utf8_is_valid(body->data != NULL ? body->data : "", body->length)) {
        char *room = buffer_reserve(&text, BASE64_LENGTH(body->length));
        if (room != NULL) {
            base64_encode(body->data, body->length, room);
            text.length = BASE64_LENGTH(body->length);
        }
    } else {
        buffer_append(&text, body->data, body->length);
    }
    bool ok = content != NULL && !text.failed && json_add_string(content, "type", is_image ? "image" : "text") &&
              json_add(content, is_image ? "data" : "text",
                       json_object_new_string_len(text.data != NULL ? text.data : "", (int)text.length));
    ok = ok && (!is_image ||
                json_add(content, "mimeType", json_object_new_string_len(answer->content_type, (int)type_length)));
    buffer_free(&text);
    if (!ok) {
        json_object_put(content);
        content = NULL;
    }
    return content;
}

static void on_tool_answer(void *state, struct self_call_answer *answer) {
    struct pending *pending = state;
    pending->call = NULL; /* over when this returns */
    struct json_object *result = json_object_new_object();
    struct json_object *list = json_object_new_array();
    struct json_object *content = make_content(answer);
    bool is_error = answer->status < 200 || answer->status >= 300;
    bool ok = result != NULL && list != NULL && content != NULL && json_object_array_add(list, content) == 0;
    content = ok ? NULL : content;
    if (ok && json_add(result, "content", json_object_get(list)) && json_add_bool(result, "isError", is_error)) {
        struct json_object *structured = is_error || answer->body.data == NULL
                                             ? NULL
                                             : json_parse_object(answer->body.data, answer->body.length, NULL);
        if (structured != NULL) {
            json_add(result, "structuredContent", structured);
        }
    } else {
        json_object_put(result);
        result = NULL;
    }
    json_object_put(list);
    json_object_put(content);
    answer_pending(pending, make_answer(id_of(pending), "result", result));
}

static void call_tool(struct pending *pending) {
    struct json_object *parameters = json_get_object(pending->message, "params");
    const char *name = parameters != NULL ? json_get_string(parameters, "name") : NULL;
    struct json_object *arguments = parameters != NULL ? json_get_object(parameters, "arguments") : NULL;
    struct mcp_tool_call call;
    struct error err = {0};
    if (name == NULL) {
        answer_pending(pending, make_error(id_of(pending), CODE_PARAMETERS, "The name of the tool is missing"));
        return;
    }
    if (!mcp_tool_call_make(pending->mcp->document, name, arguments, &call, &err)) {
        answer_pending(pending, make_error(id_of(pending), err.code == ERROR_INTERNAL ? CODE_INTERNAL : CODE_PARAMETERS,
                                           err.message));
        return;
    }
    pending->call =
        self_call_start(pending->mcp->instance, call.method, call.target, call.json, on_tool_answer, pending);
    mcp_tool_call_free(&call);
    if (pending->call == NULL) {
        answer_pending(pending, make_error(id_of(pending), CODE_INTERNAL, "The tool could not be called"));
    }
}

static void list_tools(struct pending *pending) {
    struct json_object *result = json_object_new_object();
    if (result != NULL && !json_add(result, "tools", mcp_tools_list(pending->mcp->document))) {
        json_object_put(result);
        result = NULL;
    }
    answer_pending(pending, make_answer(id_of(pending), "result", result));
}

static void use_tools(struct pending *pending) {
    bool is_call = strcmp(json_get_string(pending->message, "method"), "tools/call") == 0;
    (is_call ? call_tool : list_tools)(pending);
}

static void on_document(void *state, struct self_call_answer *answer) {
    struct pending *pending = state;
    struct mcp *mcp = pending->mcp;
    pending->call = NULL;
    if (mcp->document == NULL && answer->status == 200 && answer->body.data != NULL) {
        mcp->document = json_parse_object(answer->body.data, answer->body.length, NULL);
    }
    if (mcp->document != NULL) {
        use_tools(pending);
    } else {
        answer_pending(pending, make_error(id_of(pending), CODE_INTERNAL, "The tools could not be listed"));
    }
}

/* tools/list and tools/call */
static void start_tools(struct mcp *mcp, struct json_object *message,
                        void (*reply)(void *state, struct json_object *answer), void *state) {
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        reply(state, make_error(json_object_object_get(message, "id"), CODE_INTERNAL, "out of memory"));
        return;
    }
    *pending = (struct pending){mcp, json_object_get(message), NULL, reply, state, NULL, mcp->first};
    if (mcp->first != NULL) {
        mcp->first->previous = pending;
    }
    mcp->first = pending;
    if (mcp->document != NULL) {
        use_tools(pending);
        return;
    }
    pending->call = self_call_start(mcp->instance, "GET", "/openapi.json", NULL, on_document, pending);
    if (pending->call == NULL) {
        answer_pending(pending, make_error(id_of(pending), CODE_INTERNAL, "The tools could not be listed"));
    }
}

/* ---- what needs no tools ---- */

static struct json_object *initialize(const struct mcp *mcp, struct json_object *message) {
    struct json_object *parameters = json_get_object(message, "params");
    const char *wanted = parameters != NULL ? json_get_string(parameters, "protocolVersion") : NULL;
    struct json_object *result = json_object_new_object();
    struct json_object *capabilities = json_object_new_object();
    struct json_object *tools = json_object_new_object();
    struct json_object *server = json_object_new_object();
    bool ok =
        result != NULL && capabilities != NULL && tools != NULL && server != NULL &&
        json_add_string(result, "protocolVersion", wanted != NULL && mcp_speaks(wanted) ? wanted : revisions[0]) &&
        json_add_bool(tools, "listChanged", false) && json_add(capabilities, "tools", json_object_get(tools)) &&
        json_add(result, "capabilities", json_object_get(capabilities)) &&
        json_add_string(server, "name", "Open Terminal") && json_add_string(server, "version", "0.11.34") &&
        json_add(result, "serverInfo", json_object_get(server));
    if (ok && mcp->instance->options->info != NULL) {
        json_add_string(result, "instructions", mcp->instance->options->info);
    }
    json_object_put(capabilities);
    json_object_put(tools);
    json_object_put(server);
    if (!ok) {
        json_object_put(result);
        result = NULL;
    }
    return make_answer(json_object_object_get(message, "id"), "result", result);
}

/* {"method": "notifications/cancelled", "params": {"requestId": …}}: that request is not answered any more. */
static void cancel(struct mcp *mcp, struct json_object *message, const void *state) {
    struct json_object *parameters = json_get_object(message, "params");
    struct json_object *id = parameters != NULL ? json_object_object_get(parameters, "requestId") : NULL;
    struct pending *next;
    for (struct pending *pending = mcp->first; pending != NULL; pending = next) {
        next = pending->next;
        if (id != NULL && pending->state == state && json_object_equal(id_of(pending), id)) {
            void (*reply)(void *state, struct json_object *answer) = pending->reply;
            void *owner = pending->state;
            free_pending(pending);
            reply(owner, NULL);
        }
    }
}

static void dispatch(struct mcp *mcp, struct json_object *message,
                     void (*reply)(void *state, struct json_object *answer), void *state) {
    const char *method = json_get_string(message, "method");
    const char *version = json_get_string(message, "jsonrpc");
    struct json_object *id = NULL;
    bool is_request = json_object_object_get_ex(message, "id", &id);
    bool is_id_good = json_object_is_type(id, json_type_string) || json_object_is_type(id, json_type_int);
    if (version == NULL || strcmp(version, "2.0") != 0 || (is_request && !is_id_good)) {
        reply(state, make_error(NULL, CODE_REQUEST, "Not a JSON-RPC 2.0 message"));
    } else if (method == NULL || !is_request) {
        if (method != NULL && strcmp(method, "notifications/cancelled") == 0) {
            cancel(mcp, message, state);
        }
        reply(state, NULL); /* a notification, or an answer to what we never ask */
    } else if (strcmp(method, "initialize") == 0) {
        reply(state, initialize(mcp, message));
    } else if (strcmp(method, "ping") == 0) {
        reply(state, make_answer(id, "result", json_object_new_object()));
    } else if (strcmp(method, "tools/list") == 0 || strcmp(method, "tools/call") == 0) {
        start_tools(mcp, message, reply, state);
    } else {
        reply(state, make_error(id, CODE_METHOD, "Method not found"));
    }
}

void mcp_receive(struct mcp *mcp, const char *text, size_t length,
                 void (*reply)(void *state, struct json_object *answer), void *state) {
    cleanup_json struct json_object *message = json_parse(text, length, NULL);
    if (message == NULL) {
        reply(state, make_error(NULL, CODE_PARSE, "Not JSON"));
    } else if (!json_object_is_type(message, json_type_object)) {
        reply(state, make_error(NULL, CODE_REQUEST, "Not a JSON-RPC 2.0 message"));
    } else {
        dispatch(mcp, message, reply, state);
    }
}
