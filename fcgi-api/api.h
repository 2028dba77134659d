/* api.h - what every request of this process is answered with: settings and rules, constant once the threads run, and
 * the way to the provisioner. */
#ifndef TERMINALS_FCGI_API_API_H
#define TERMINALS_FCGI_API_API_H

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"
#include "fcgi-api/authenticate.h"

struct auth_failures;

struct api {
    const struct settings *settings;
    struct authenticator authenticator;
    struct auth_failures *auth_failures; /* NULL: nobody wants to know */
    const char *openapi;                 /* the built-in OpenAPI document, stripped (openapi.h) */
};

/* Asks the provisioner: `request` is taken over; the caller puts the answer; NULL with *err (ipc_client_call()). One
 * per thread. */
struct provisioner {
    struct json_object *(*call)(void *argument, struct json_object *request, int timeout_ms, struct error *err);
    void *argument;
};

#endif
