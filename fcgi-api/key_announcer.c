#include "fcgi-api/key_announcer.h"

#include <poll.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/log.h"

#define PING_INTERVAL_MS 1000
#define CALL_TIMEOUT_MS  1000

/* {"op": "set_api_keys", "digests": [the keys'], "forget_users": whether we are new} */
static struct json_object *make_announcement(const struct authenticator *authenticator, bool is_first) {
    cleanup_json struct json_object *request = ipc_request("set_api_keys");
    cleanup_json struct json_object *digests = json_object_new_array();
    if (request == NULL || digests == NULL || !json_add(request, "digests", json_object_get(digests)) ||
        !json_add_bool(request, "forget_users", is_first)) {
        return NULL;
    }
    for (size_t i = 0; i < authenticator->key_count; i++) {
        struct json_object *digest = json_object_new_string(authenticator->key_digests[i]);
        if (digest == NULL || json_object_array_add(digests, digest) != 0) {
            json_object_put(digest);
            return NULL;
        }
    }
    return steal_pointer(&request);
}

static bool call(struct ipc_client *client, struct json_object *request, struct error *err) {
    struct json_object *answer = ipc_client_call(client, request, CALL_TIMEOUT_MS, err);
    json_object_put(answer);
    return answer != NULL;
}

void key_announcer_run(const struct authenticator *authenticator, struct ipc_client *client, int stop_fd) {
    struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
    unsigned announced_on = 0; /* the connection, counted from 1 */
    bool is_failing = false;
    do {
        struct error err = {0};
        bool good = call(client, ipc_request("ping"), &err);
        if (good && ipc_client_connections(client) != announced_on) {
            good = call(client, make_announcement(authenticator, announced_on == 0), &err);
            if (good) {
                announced_on = ipc_client_connections(client);
                log_info(NULL, "the provisioner knows who may act for everybody");
            }
        }
        if (!good && !is_failing) {
            log_warning(NULL, "the provisioner does not know the API keys yet: %s", err.message);
        }
        is_failing = !good;
    } while (poll(&stop, 1, PING_INTERVAL_MS) <= 0);
}
