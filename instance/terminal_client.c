#include "instance/terminal_client.h"

#include <stdlib.h>
#include <string.h>

#include "instance/instance.h"
#include "instance/terminal_message.h"
#include "instance/websocket.h"

static void close_with(struct terminal_client *client, uint16_t code, const char *reason) {
    if (!client->is_closing) {
        client->is_closing = true;
        websocket_close(client->websocket, code, reason);
    }
}

static void free_client(struct terminal_client *client) {
    loop_timer_clear(terminal_table_instance(client->table)->loop, &client->auth_timer);
    struct terminal_client **at = terminal_all_clients(client->table);
    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    if (client->terminal != NULL) {
        terminal_detach(client->terminal, client);
    }
    free(client->terminal_id);
    free(client);
}

static void attach(struct terminal_client *client) {
    loop_timer_clear(terminal_table_instance(client->table)->loop, &client->auth_timer);
    client->terminal = terminal_find(client->table, client->terminal_id);
    if (client->terminal == NULL) {
        close_with(client, TERMINAL_CLOSE_NOT_FOUND, "Session not found");
    } else {
        terminal_attach(client->terminal, client);
    }
}

static void check_first_message(struct terminal_client *client, bool is_text, const char *bytes, size_t length) {
    enum terminal_auth auth = TERMINAL_AUTH_NO_MESSAGE;
    if (is_text) {
        auth = terminal_message_check_auth(bytes, length, terminal_table_instance(client->table)->api_key);
    }
    if (auth == TERMINAL_AUTH_FINE) {
        attach(client);
    } else {
        close_with(client, TERMINAL_CLOSE_UNAUTHORIZED,
                   auth == TERMINAL_AUTH_WRONG_KEY ? "Invalid API key" : "Auth timeout or invalid payload");
    }
}

static void on_message(void *owner, bool is_text, const char *bytes, size_t length) {
    struct terminal_client *client = owner;
    unsigned short rows;
    unsigned short columns;
    if (client->is_closing) {
        return;
    }
    if (client->terminal == NULL) {
        check_first_message(client, is_text, bytes, length);
    } else if (!is_text) {
        terminal_type(client->terminal, bytes, length);
    } else if (terminal_message_parse_resize(bytes, length, &rows, &columns)) {
        terminal_resize(client->terminal, rows, columns);
    } /* any other text means nothing to us, and ends nothing */
}

static void on_drained(void *owner) {
    struct terminal_client *client = owner;
    if (client->terminal != NULL) {
        terminal_go_on(client->terminal);
    }
}

static void on_closed(void *owner) {
    free_client(owner);
}

static void on_auth_timeout(struct loop_timer *timer) {
    close_with(loop_owner(timer, struct terminal_client, auth_timer), TERMINAL_CLOSE_UNAUTHORIZED,
               "Auth timeout or invalid payload");
}

static void *on_opened(struct instance *instance, struct websocket *websocket, const char *terminal_id) {
    struct terminal_client *client = calloc(1, sizeof *client);
    char *id = strdup(terminal_id);
    if (client == NULL || id == NULL) {
        free(client);
        free(id);
        return NULL;
    }
    client->table = instance->terminals;
    client->websocket = websocket;
    client->terminal_id = id;
    client->auth_timer.expired = on_auth_timeout;
    struct terminal_client **all = terminal_all_clients(client->table);
    client->next = *all;
    *all = client;
    if (instance->api_key != NULL) {
        loop_timer_set(instance->loop, &client->auth_timer, TERMINAL_AUTH_TIMEOUT_MS);
    } else {
        attach(client);
    }
    return client;
}

void terminal_client_answer(struct http_request *request, const char *terminal_id) {
    static const struct websocket_events events = {
        .message = on_message,
        .drained = on_drained,
        .closed = on_closed,
    };
    websocket_answer(request, &events, on_opened, strdup(terminal_id));
}

void terminal_client_send(struct terminal_client *client, const char *bytes, size_t length) {
    if (!client->is_closing && !websocket_send(client->websocket, bytes, length)) {
        close_with(client, 1011, "Out of memory");
    }
}

void terminal_client_end(struct terminal_client *client) {
    client->terminal = NULL;
    close_with(client, TERMINAL_CLOSE_NORMAL, "");
}

void terminal_client_drop(struct terminal_client *client) {
    websocket_drop(client->websocket);
    free_client(client);
}
