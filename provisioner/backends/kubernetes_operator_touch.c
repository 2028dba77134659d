/* kubernetes_operator_touch.c - `status.lastActivityAt`: when an instance was used last, for the operator, who lets
 * sleep what nobody uses. */
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_operator.h"

#define LOOK_INTERVAL_S 15

void kubernetes_operator_is_used(struct kubernetes_instance *instance, int64_t unix_ms) {
    instance->active_ms = instance->written_ms = unix_ms;
    instance->wrote_ms = clock_monotonic_ms();
}

static void on_written(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    struct error err;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 200) {
        kubernetes_watch_note(instance->backend->terminals, answer->json);
    } else if (answer->status != 404) {
        kubernetes_answer_error(answer, &err, "say when an instance was used");
        log_warning(NULL, "Terminal `%s`: %s (tried again in a minute)", instance->name, err.message);
        instance->written_ms = 0;
    }
}

static void write_one(struct kubernetes_instance *instance) {
    bool is_new = instance->active_ms > instance->written_ms;
    if (instance->state != KUBERNETES_READY || !is_new || instance->call != NULL ||
        clock_monotonic_ms() - instance->wrote_ms < KUBERNETES_TOUCH_INTERVAL_MS) {
        return;
    }
    cleanup_json struct json_object *patch = kubernetes_terminal_activity(instance->active_ms, NULL);
    const struct kubernetes_request request = {.method = "PATCH",
                                               .api = instance->backend->terminals_api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .name = instance->name,
                                               .subresource = "status",
                                               .query = "?fieldManager=terminals",
                                               .body = patch,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (patch == NULL) {
        return; /* it is tried again */
    }
    kubernetes_operator_is_used(instance, instance->active_ms);
    instance->call = kubernetes_call_start(instance->backend->client, &request, on_written, instance);
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct backend *backend = argument;
    (void)fd;
    (void)what;
    if (kubernetes_link_state(backend) != KUBERNETES_LINK_UP) {
        return;
    }
    for (struct kubernetes_instance *instance = backend->instances; instance != NULL; instance = instance->hh.next) {
        write_one(instance);
    }
}

void kubernetes_operator_touch(struct backend *backend, const char *instance_id, int64_t unix_ms) {
    struct kubernetes_instance *instance = kubernetes_instance_find(backend, instance_id);
    if (instance != NULL && unix_ms > instance->active_ms) {
        instance->active_ms = unix_ms;
        if (kubernetes_link_state(backend) == KUBERNETES_LINK_UP) {
            write_one(instance);
        }
    }
}

bool kubernetes_operator_touches_open(struct backend *backend) {
    const struct timeval interval = {.tv_sec = LOOK_INTERVAL_S};
    backend->touch_timer = event_new(backend->base, -1, EV_PERSIST, on_timer, backend);
    return backend->touch_timer != NULL && event_add(backend->touch_timer, &interval) == 0;
}
