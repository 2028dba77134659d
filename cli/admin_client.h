/* admin_client.h - calls of the admin API from the command line, one after the other.
 *
 * Without a URL they go to the Terminals of the settings, over HAProxy's own socket in TERMINALS_RUN_DIR, which needs
 * neither its address nor its certificate. The key is TERMINALS_API_KEY, or the file that `terminals serve` made. */
#ifndef TERMINALS_CLI_ADMIN_CLIENT_H
#define TERMINALS_CLI_ADMIN_CLIENT_H

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"

struct admin_client;

/* `url` may be NULL. NULL with *err. */
struct admin_client *admin_client_open(const struct settings *settings, const char *url, struct error *err);
void admin_client_close(struct admin_client *client);

/* Sends `method` to /api/v1`path`, with `body` (borrowed; NULL: none). Returns the body of a 2xx; else NULL, with *err
 * saying what the `detail` says: ERROR_NOT_FOUND for 404, ERROR_INVALID for 400 and 422, ERROR_CONFLICT for 409,
 * ERROR_BACKEND for all else. */
struct json_object *admin_client_call(struct admin_client *client, const char *method, const char *path,
                                      struct json_object *body, struct error *err);

#endif
