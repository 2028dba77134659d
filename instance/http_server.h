/* http_server.h - libmicrohttpd inside the instance's event loop. */
#ifndef TERMINALS_INSTANCE_HTTP_SERVER_H
#define TERMINALS_INSTANCE_HTTP_SERVER_H

#include "common/error.h"
#include "instance/instance.h"

struct http_server;

/* Listens on `host` ("0.0.0.0", "::1", "localhost"; no name is looked up) and `port` and serves the route tables; with
 * a NULL host it serves what http_server_adopt() brings and nobody else. NULL with *err. */
struct http_server *http_server_start(struct instance *instance, const char *host, unsigned port, struct error *err);

/* Serves one more connection; `fd`, a stream socket, is taken over if that succeeds. */
bool http_server_adopt(struct http_server *server, int fd);

/* Ends every connection, answers nothing more, and frees. */
void http_server_stop(struct http_server *server);

/* A connection was resumed, or a WebSocket ended. libmicrohttpd 0.9.75 notices that only when it
 * runs, and its time-out does not say so: without this the answer would wait for the next event on any of its sockets.
 */
void http_server_run_soon(struct http_server *server);

/* Lets libmicrohttpd do what is due without any event on a socket (resumed connections). Call before each wait of the
 * loop; returns how long that may last in milliseconds, -1 for no limit. */
int http_server_work(struct http_server *server);

#endif
