/* terminals.c - /api/terminals: open, list and close shells, and attach to one with a WebSocket. */
#include <fcntl.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/options.h"
#include "instance/routes.h"
#include "instance/session_folders.h"
#include "instance/terminal_client.h"
#include "instance/terminal_table.h"
#include "instance/utf8.h"
#include "instance/websocket_handshake.h"

/* {"error": …}, not {"detail": …}: this is what clients of these calls look for. */
static void respond_problem(struct http_request *request, int status, const char *sentence) {
    struct json_object *body = json_object_new_object();
    if (body != NULL && !json_add_string(body, "error", sentence)) {
        json_object_put(body);
        body = NULL;
    }
    http_respond_json(request, status, body);
}

static void append_terminal(struct buffer *out, const struct terminal *terminal) {
    buffer_append_string(out, "{\"id\":");
    utf8_append_json(out, terminal->id, strlen(terminal->id));
    buffer_append_format(out, ",\"created_at\":\"%s\",\"pid\":%d}", terminal->created_at, (int)terminal->pid);
}

static void respond_terminal(struct http_request *request, const struct terminal *terminal) {
    cleanup_buffer struct buffer body = {0};
    append_terminal(&body, terminal);
    http_respond_buffer(request, 200, "application/json", &body);
}

static struct terminal *find_terminal(struct http_request *request) {
    const char *id = http_path_parameter(request, "session_id", NULL);
    return terminal_find(http_instance(request)->terminals, id);
}

static void open_terminal(struct http_request *request) {
    struct instance *instance = http_instance(request);
    const char *session = http_header(request, "X-Session-Id");
    session = session != NULL && *session != '\0' ? session : NULL;
    const char *path = session_folder_get(instance->folders, session);
    cleanup_close int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        folder = open(instance->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    struct error err;
    struct terminal *terminal = terminal_open(instance->terminals, session, folder, &err);
    if (terminal != NULL) {
        respond_terminal(request, terminal);
    } else {
        respond_problem(request, err.code == ERROR_CAPACITY ? 429 : error_code_http_status(err.code), err.message);
    }
}

static void list_terminals(struct http_request *request) {
    cleanup_buffer struct buffer body = {0};
    buffer_append_string(&body, "[");
    for (const struct terminal *terminal = terminal_first(http_instance(request)->terminals); terminal != NULL;
         terminal = terminal->next) {
        append_terminal(&body, terminal);
        if (terminal->next != NULL) {
            buffer_append_string(&body, ",");
        }
    }
    buffer_append_string(&body, "]");
    http_respond_buffer(request, 200, "application/json", &body);
}

static void get_terminal(struct http_request *request) {
    const struct terminal *terminal = find_terminal(request);
    if (terminal != NULL) {
        respond_terminal(request, terminal);
    } else {
        respond_problem(request, 404, "Session not found");
    }
}

static void close_terminal(struct http_request *request) {
    struct terminal *terminal = find_terminal(request);
    if (terminal == NULL) {
        respond_problem(request, 404, "Session not found");
        return;
    }
    terminal_close(http_instance(request)->terminals, terminal);
    static const char body[] = "{\"status\":\"deleted\"}";
    http_respond_static(request, 200, "application/json", body, sizeof body - 1);
}

/* The key comes in the first message, so the handshake itself is open to everybody; whether there is such a session is
 * all that it tells. */
static void attach_terminal(struct http_request *request) {
    const struct terminal *terminal = find_terminal(request);
    if (terminal == NULL) {
        websocket_refuse(request, 403, "");
    } else {
        terminal_client_answer(request, terminal->id);
    }
}

static bool is_enabled(const struct instance *instance) {
    return instance->options->is_terminal_enabled;
}

const struct http_route terminal_routes[] = {
    {.method = "POST", .pattern = "/api/terminals", .handle = open_terminal, .is_offered = is_enabled},
    {.method = "GET", .pattern = "/api/terminals", .handle = list_terminals, .is_offered = is_enabled},
    {.method = "GET",
     .pattern = "/api/terminals/{session_id}",
     .handle = get_terminal,
     .upgrade = attach_terminal,
     .is_offered = is_enabled},
    {.method = "DELETE", .pattern = "/api/terminals/{session_id}", .handle = close_terminal, .is_offered = is_enabled},
    HTTP_ROUTES_END,
};
