/* http_request.h - the inside of a request, for the files that make up the HTTP core (http_….c, router.c, cors.c,
 * websocket_….c, proxy….c); handlers see http.h only. */
#ifndef TERMINALS_INSTANCE_HTTP_REQUEST_H
#define TERMINALS_INSTANCE_HTTP_REQUEST_H

#include <microhttpd.h>

#include "instance/http.h"
#include "instance/http_body.h"
#include "instance/url.h"

#define HTTP_PATH_PARAMETERS_MAX 4

struct http_path_parameter {
    const char *name; /* in the route's pattern, name_length bytes */
    size_t name_length;
    char *value;
    size_t value_length;
};

struct http_extra_header {
    struct http_extra_header *next;
    char *value;
    char name[];
};

struct http_request {
    struct instance *instance;
    struct MHD_Connection *connection;
    struct http_request *previous; /* in the server's list of requests in progress */
    struct http_request *next;
    struct http_server *server;

    char *target; /* as sent; cut at "?" */
    const char *raw_query;
    const char *method;
    const struct http_route *route;
    struct http_path_parameter parameters[HTTP_PATH_PARAMETERS_MAX];
    size_t parameter_count;
    const char *raw_rest;
    struct url_query query;
    bool is_query_parsed;

    struct buffer body;
    bool is_body_too_large;
    struct json_object *json; /* NULL: the route wants none, or there is a problem with all of it: */
    enum http_body_problem body_problem;
    struct json_object *bad_body;
    struct json_object *problems; /* the list of a 422 */

    void *state;
    void (*release)(void *state);

    struct MHD_Response *response;
    int status;
    struct http_extra_header *extra_headers;

    bool is_begun;      /* the head was looked at */
    bool is_upgrade;    /* a WebSocket handshake */
    bool is_handled;    /* the route's handler was called */
    bool is_suspended;  /* libmicrohttpd waits for us */
    bool is_resume_due; /* http_resume() was called inside the callback that is about to suspend */
};

/* Answers with a response of libmicrohttpd that is taken over; NULL becomes a plain 500 (or, when even that fails, the
 * connection is cut). The first answer to a request wins. */
void http_respond(struct http_request *request, int status, struct MHD_Response *response);

/* Sends what was answered with the headers added to it and those of CORS. */
enum MHD_Result http_send(struct http_request *request);

/* Lets libmicrohttpd forget the connection until http_resume(), or only until its next turn if that was called since
 * is_resume_due was last cleared. */
void http_suspend(struct http_request *request);

/* Parses the buffered body into request->json. False: it is no text or no JSON, which was answered. What is wrong with
 * it otherwise (it is missing, or no object) is told by http_refused_as_invalid(), together with the query's problems.
 */
bool http_parse_json_body(struct http_request *request);

#endif
