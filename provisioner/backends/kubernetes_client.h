/* kubernetes_client.h - the HTTP client of a Kubernetes API server, on the event loop.
 *
 * Any number of calls may be under way; each is told its answer once, from the event loop and never from inside
 * kubernetes_call_start(). A call may be cancelled, and others started, from inside such a callback.
 *
 * What a client is expected to try again is tried again in here (client-go does the same): 429, and 5xx with
 * Retry-After, after as long as the server says; a 409 `Conflict` of a creation, which is a quota that somebody else
 * changed at the same moment; a 401 once, if the token file has another token by now. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CLIENT_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"
#include "provisioner/backends/kubernetes_config.h"

struct kubernetes_client;
struct kubernetes_call;

/* Takes over `config`, also on failure. Connects to nobody yet. NULL with *err. */
struct kubernetes_client *kubernetes_client_open(struct kubernetes_config *config, const char *namespace_name,
                                                 struct event_base *base, struct error *err);

/* The same for the API server that the settings name, or of the cluster that this is a pod of. */
struct kubernetes_client *kubernetes_client_connect(const struct settings *settings, struct event_base *base,
                                                    struct error *err);

/* Cancels all calls. NULL is fine. */
void kubernetes_client_close(struct kubernetes_client *client);

/* How much of an object is told. */
enum kubernetes_form { KUBERNETES_WHOLE, KUBERNETES_METADATA, KUBERNETES_METADATA_LIST };

/* Borrowed during the call. */
struct kubernetes_request {
    const char *method;      /* "GET", "POST", "PUT", "DELETE"; "PATCH" is a merge patch (RFC 7386) */
    const char *api;         /* "apis/coordination.k8s.io/v1"; NULL: "api/v1" */
    const char *kind;        /* "pods", "services", "secrets", "persistentvolumeclaims", …: in our namespace */
    const char *name;        /* NULL: all of them, or a new one */
    const char *subresource; /* "status"; NULL: the object itself */
    const char *query;       /* "?a=b", escaped already; NULL: none */
    const char *path; /* instead of api, kind, name, subresource, query: the path on the server, for what is in no
                         namespace; or NULL */
    struct json_object *body; /* NULL: none */
    enum kubernetes_form form;
    int timeout_ms; /* until the whole answer is there; 0: never, for watches */
    /* For a watch: called for each line of an answer with status 200, which then has no body. */
    void (*line)(void *argument, char *line, size_t length);
};

/* Borrowed during the callback. */
struct kubernetes_answer {
    int status; /* 0: no whole answer came, and `failure` says why */
    const char *failure;
    struct json_object *json; /* the body, if it is JSON; else NULL */
    const char *reason;       /* of a Status: "AlreadyExists", "Conflict", "Expired"; "" without one */
    const char *message;      /* the same */
};

typedef void kubernetes_done(void *argument, const struct kubernetes_answer *answer);

/* NULL: no memory. */
struct kubernetes_call *kubernetes_call_start(struct kubernetes_client *client,
                                              const struct kubernetes_request *request, kubernetes_done *done,
                                              void *argument);

/* Not after `done`. NULL is fine. The server may do what it was asked all the same. */
void kubernetes_call_cancel(struct kubernetes_call *call);

/* Whether the same may be answered otherwise later, with nothing changed: the server could not be asked, is busy or has
 * a problem of its own, does not know a new token yet, or a quota is used up. */
bool kubernetes_answer_is_for_later(const struct kubernetes_answer *answer);

/* An answer as an error about `what` ("create the pod"), with Kubernetes' own reason: ERROR_CAPACITY if it is
 * for later; else ERROR_BACKEND. Returns false. */
bool kubernetes_answer_error(const struct kubernetes_answer *answer, struct error *err, const char *what);

#endif
