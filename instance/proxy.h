/* proxy.h - one request on its way to a program of the user's (/proxy/{port}/…); proxy.c sends it, proxy_answer.c
 * brings back what the program says, proxy_tunnel.c takes over when that is a WebSocket. */
#ifndef TERMINALS_INSTANCE_PROXY_H
#define TERMINALS_INSTANCE_PROXY_H

#include "instance/http.h"
#include "instance/http1.h"
#include "instance/loop.h"

#define PROXY_BUFFERED_MAX_BYTES (64 * 1024) /* each way: then reading stops */
#define PROXY_READ_BYTES         (16 * 1024)

struct proxy {
    struct http_request *request;
    struct loop *loop;
    struct loop_watch watch; /* the connection to the program */
    unsigned port;
    bool is_upgrade;        /* a WebSocket is asked for */
    bool is_second_address; /* 127.0.0.1 refused: this is ::1 */
    bool is_connected;
    bool is_body_chunked; /* towards the program */
    bool is_body_waiting; /* the client's next piece did not fit */
    bool has_answered;
    bool is_read_waiting; /* libmicrohttpd found nothing to send */
    bool has_ended;       /* the program's side is closed */
    struct buffer out;
    struct buffer in;
    struct http1_body body;
};

/* Watches the program for what there is room and need for. */
void proxy_update_watch(struct proxy *proxy);

/* Gives up: 502, if there is no answer yet. */
void proxy_fail(struct proxy *proxy, const char *reason);

/* The program has sent something, or its end. */
void proxy_read_answer(struct proxy *proxy);

/* The program agreed to a WebSocket (its head is taken): answers 101, and from then on bytes are relayed both ways,
 * with PROXY_BUFFERED_MAX_BYTES each at most, until both sides have ended. */
void proxy_answer_upgrade(struct proxy *proxy);

/* Ends all WebSockets that are relayed: libmicrohttpd does not stop before. */
void proxy_end_tunnels(struct instance *instance);

#endif
