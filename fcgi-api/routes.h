/* routes.h - the API's calls: one table of what there is, and finding the row a request means.
 *
 * Thread-safe. */
#ifndef TERMINALS_FCGI_API_ROUTES_H
#define TERMINALS_FCGI_API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "fcgi-api/answer.h"
#include "fcgi-api/api.h"
#include "fcgi-api/body.h"
#include "fcgi-api/query.h"
#include "fcgi-api/request.h"

struct exchange;

/* What a call may have to wait for. Only the operations pool answers one that waits at all. */
enum route_wait {
    WAIT_NONE,
    WAIT_INSTANCE, /* one start or stop */
    WAIT_MANY,     /* any number of them, and of files to remove */
};

/* One call. */
struct route {
    const char *method;
    const char *pattern; /* `{…}` stands for one segment, decoded; at most one of them; no trailing slash */
    void (*handle)(const struct exchange *exchange, struct answer *answer);
    const char *operation;           /* what the provisioner is asked */
    const struct query_field *query; /* NULL: takes none */
    const char *parameter;           /* the member of the provisioner's request that the `{…}` becomes */
    const char *result;              /* the member of the provisioner's answer that is the body */
    enum route_wait waits;
    bool is_for_users;             /* also for an identity that may not administer */
    const struct body_field *body; /* NULL: takes none, or the handler reads it */
};

/* One request on its way through a handler. */
struct exchange {
    const struct api *api;
    const struct provisioner *provisioner;
    const struct request *request;
    const struct identity *identity;
    const struct route *route;
    const char *parameter; /* the value of `{…}`, or NULL */
};

/* Finds the call for a method and the path of a request target, with or without a trailing slash; HEAD finds GET. Sets
 * *parameter, which the caller frees. NULL with ERROR_NOT_FOUND; with ERROR_INVALID if the parameter holds a NUL or is
 * no UTF-8; or with ERROR_CONFLICT and the methods there are in `allow` (405). */
const struct route *route_find(const char *method, const char *target, char **parameter, struct buffer *allow,
                               struct error *err);

#endif
