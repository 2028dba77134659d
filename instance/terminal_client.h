/* terminal_client.h - a WebSocket to a shell: it has to prove itself first, then bytes go both ways. */
#ifndef TERMINALS_INSTANCE_TERMINAL_CLIENT_H
#define TERMINALS_INSTANCE_TERMINAL_CLIENT_H

#include "instance/http.h"
#include "instance/loop.h"
#include "instance/terminal_table.h"

#define TERMINAL_AUTH_TIMEOUT_MS 10000

/* Close codes of our own (RFC 6455 §7.4.2). */
enum { TERMINAL_CLOSE_NORMAL = 1000, TERMINAL_CLOSE_UNAUTHORIZED = 4001, TERMINAL_CLOSE_NOT_FOUND = 4004 };

struct websocket;

struct terminal_client {
    struct terminal_table *table;
    struct websocket *websocket;
    struct terminal *terminal; /* NULL until it is attached, and when the shell is gone */
    char *terminal_id;
    struct loop_timer auth_timer;
    bool is_closing;
    struct terminal_client *next_of_terminal;
    struct terminal_client *next;
};

/* Answers a WebSocket handshake for the shell of this id. */
void terminal_client_answer(struct http_request *request, const char *terminal_id);

/* What the shell wrote. */
void terminal_client_send(struct terminal_client *client, const char *bytes, size_t length);

/* The shell is gone. */
void terminal_client_end(struct terminal_client *client);

/* Cuts it off and frees it. */
void terminal_client_drop(struct terminal_client *client);

#endif
