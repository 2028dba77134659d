/* request.h - one FastCGI request: its parameters, as the peer sent them.
 *
 * A header that came several times is several parameters of the same name, or, where the peer cannot send that, a count
 * of its own (TERMINALS_USER_ID_COUNT, TERMINALS_AUTHORIZATION_COUNT). Values are any bytes but NUL. A request belongs
 * to one thread; what is returned is borrowed from it. */
#ifndef TERMINALS_FCGI_API_REQUEST_H
#define TERMINALS_FCGI_API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

struct buffer;
struct token_waiter;

struct request {
    char **parameters; /* "NAME=value", NULL-terminated */
    /* Reads the whole body, of `max_bytes` at most, in bounded time: 0, or the HTTP status to refuse it with (400: it
     * ended early, 408, 413, 500). NULL: there is none. To be called once, and only when the body matters. */
    int (*read_body)(void *argument, size_t max_bytes, struct buffer *body);
    void *body_argument;
    struct token_waiter *waiter; /* NULL: this request cannot be put aside */
    int64_t retry_after_seconds; /* where authenticate() set ERROR_TOO_MANY */
    bool is_put_aside;           /* by authenticate(): no answer yet, and this request is the waiter's */
};

/* The first value of a parameter, or NULL. */
const char *request_parameter(const struct request *request, const char *name);

/* How often a header was sent: its own parameters, or more if the parameter `count_name` (may be NULL) says so. */
size_t request_header_count(const struct request *request, const char *name, const char *count_name);

/* The value of a header that must not come twice, NULL if it did not come at all. `title` is its name for people.
 * False with ERROR_INVALID if it came more than once. */
bool request_single_header(const struct request *request, const char *name, const char *count_name, const char *title,
                           const char **value, struct error *err);

/* X-User-Id. False with ERROR_UNPROCESSABLE if it is absent or empty, ERROR_INVALID if it came twice or is no user id.
 */
bool request_user_id(const struct request *request, const char **user_id, struct error *err);

/* The id of this request for log and audit: at most 128 visible ASCII characters, else NULL. */
const char *request_id(const struct request *request);

/* The client's address, "" if nobody told. */
const char *request_client(const struct request *request);

/* Who is behind this request, as IPC messages carry it: {"request_id", "ip", "user_agent"}, without what is not known.
 * NULL: no memory. The caller puts it. */
struct json_object *request_actor(const struct request *request);

/* Adds text that a client chose (a header, a path): cut to 512 bytes, and a byte that JSON could not carry becomes `?`.
 * NULL and "" add nothing. False: no memory. */
bool request_add_foreign_text(struct json_object *object, const char *key, const char *text);

/* Overwrites the presented credentials once they were looked at. */
void request_forget_credentials(struct request *request);

#endif
