/* docker_end.c - how an instance in a container ends: by our hand, or by itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "provisioner/backends/docker_instance.h"
#include "provisioner/backends/docker_logs.h"
#include "provisioner/backends/docker_roundup.h"
#include "provisioner/backends/docker_warm.h"

#define STOP_GRACE_S  3
#define RETRY_MIN_MS  50
#define LOG_LINES     "5"
#define LOG_TEXT_SIZE 360

/* --- by our hand -------------------------------------------------------------------------------------------------- */

/* Nothing of it is left, or what is left is for the roundup: tells the outcome, as the last thing. */
static void forget(struct docker_instance *instance) {
    struct backend *backend = instance->backend;
    enum docker_outcome outcome = instance->outcome;
    struct error failure = instance->failure;
    char id[DOCKER_INSTANCE_ID_SIZE];
    memcpy(id, instance->id, sizeof id);
    docker_instance_free(instance);
    if (outcome == DOCKER_OUTCOME_FAILED) {
        backend->events.failed(backend->events.owner, id, &failure);
    } else if (outcome == DOCKER_OUTCOME_STOPPED) {
        backend->events.stopped(backend->events.owner, id);
    }
}

static void retry_later(struct docker_instance *instance) {
    int pause_ms = RETRY_MIN_MS << (instance->tries < 7 ? instance->tries : 7);
    instance->tries++;
    docker_instance_set_timer(instance, pause_ms < DOCKER_RETRY_MAX_MS ? pause_ms : DOCKER_RETRY_MAX_MS);
}

static void on_removed(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct error err;
    instance->call = NULL;
    if (answer->status == 204 || answer->status == 404) {
        forget(instance);
    } else if (answer->status == 0 && instance->outcome != DOCKER_OUTCOME_STOPPED) {
        docker_roundup_again(instance->backend->roundup); /* nobody shall wait for the engine to come back */
        forget(instance);
    } else {
        /* 409: somebody is removing it already. Else it is busy: it goes on being tried, as nothing else can be done.
         */
        if (answer->status != 409 && instance->tries % 10 == 3) {
            docker_answer_error(answer, &err, "remove container `%s`", docker_instance_container(instance));
            log_warning(NULL, "%s (tried again)", err.message);
        }
        retry_later(instance);
    }
}

static void step_remove(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 32];
    instance->state = DOCKER_REMOVING;
    if (instance->container_id[0] == '\0') {
        forget(instance);
        return;
    }
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", instance->container_id);
    const struct docker_request request = {.method = "DELETE", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    docker_instance_call(instance, &request, on_removed);
}

static void on_stopped(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    instance->call = NULL;
    if (answer->status == 0) {
        retry_later(instance); /* the engine is away: what runs may go on running, so it is not stopped */
        return;
    }
    instance->tries = 0;
    step_remove(instance);
}

static void step_stop(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 32];
    instance->state = DOCKER_STOPPING;
    if (instance->container_id[0] == '\0') {
        forget(instance);
        return;
    }
    snprintf(path, sizeof path, "/containers/%s/stop?t=%d", instance->container_id, STOP_GRACE_S);
    const struct docker_request request = {.method = "POST", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    docker_instance_call(instance, &request, on_stopped);
}

void docker_end_go_on(struct docker_instance *instance) {
    if (instance->state == DOCKER_STOPPING) {
        step_stop(instance);
    } else {
        step_remove(instance);
    }
}

void docker_instance_stop(struct docker_instance *instance) {
    instance->outcome = DOCKER_OUTCOME_STOPPED;
    if (instance->state == DOCKER_STOPPING || instance->state == DOCKER_REMOVING) {
        return; /* it is on its way */
    }
    docker_warm_fail(instance);
    liveness_answer(&instance->liveness, false);
    if (instance->call != NULL && (instance->state == DOCKER_CREATING || instance->state == DOCKER_STARTING)) {
        instance->is_stop_wanted = true; /* only when that is answered it is known what there is to stop */
        return;
    }
    docker_instance_drop_calls(instance);
    instance->tries = 0;
    step_stop(instance);
}

void docker_instance_fail(struct docker_instance *instance, const struct error *err) {
    docker_instance_drop_calls(instance);
    instance->outcome = DOCKER_OUTCOME_FAILED;
    instance->failure = *err;
    instance->tries = 0;
    step_remove(instance);
}

void docker_instance_fail_leaving_all(struct docker_instance *instance, const struct error *err) {
    docker_roundup_again(instance->backend->roundup);
    docker_instance_set_container(instance, "");
    docker_instance_fail(instance, err);
}

bool docker_instance_may_go_on(struct docker_instance *instance) {
    instance->call = NULL;
    if (instance->is_stop_wanted) {
        instance->is_stop_wanted = false;
        step_stop(instance);
        return false;
    }
    if (instance->has_ended && instance->container_id[0] != '\0' && instance->state != DOCKER_CREATING) {
        instance->has_ended = false;
        docker_instance_ended(instance, instance->exit_code, NULL);
        return false;
    }
    return true;
}

/* --- by itself ---------------------------------------------------------------------------------------------------- */

static void describe_end(const struct docker_instance *instance, const char *reason, char *text, size_t size) {
    if (reason != NULL) {
        snprintf(text, size, "%s", reason);
    } else if (instance->exit_code >= 0) {
        snprintf(text, size, "its container ended with status %" PRId64, instance->exit_code);
    } else {
        snprintf(text, size, "its container is gone");
    }
}

static void on_logs(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    char text[LOG_TEXT_SIZE] = "";
    char end[96];
    struct error err;
    instance->call = NULL;
    if (answer->status == 200) {
        docker_logs_join(answer->body, answer->length, text, sizeof text);
    }
    describe_end(instance, NULL, end, sizeof end);
    error_set(&err, ERROR_BACKEND, "%s%s%s", end, text[0] == '\0' ? "" : ": ", text);
    docker_instance_fail(instance, &err);
}

/* Before it was ready: its last words say why. */
static void step_logs(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 64];
    snprintf(path, sizeof path, "/containers/%s/logs?stdout=1&stderr=1&tail=" LOG_LINES, instance->container_id);
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_LOGS;
    docker_instance_call(instance, &request, on_logs);
}

/* It was ready and is not any more; what is left of it is removed without anybody waiting. */
static void end_ready(struct docker_instance *instance, const char *reason) {
    const struct backend_events *events = &instance->backend->events;
    char id[DOCKER_INSTANCE_ID_SIZE];
    char text[160];
    memcpy(id, instance->id, sizeof id);
    describe_end(instance, reason, text, sizeof text);
    instance->state = DOCKER_REMOVING; /* whoever is told now may not take it for ready, but may want it stopped */
    instance->outcome = DOCKER_OUTCOME_SAID;
    docker_warm_fail(instance);
    docker_instance_drop_calls(instance);
    instance->tries = 0;
    events->gone(events->owner, id, text);
    liveness_answer(&instance->liveness, false);
    step_remove(instance);
}

void docker_instance_ended(struct docker_instance *instance, int64_t exit_code, const char *reason) {
    instance->exit_code = exit_code;
    switch (instance->state) {
    case DOCKER_READY:
        end_ready(instance, reason);
        break;
    case DOCKER_STARTING:
    case DOCKER_CREATING:
        if (instance->call != NULL) {
            instance->has_ended = true;
            break;
        }
        /* fall through */
    case DOCKER_LOOKING:
    case DOCKER_PROBING:
    case DOCKER_ADOPTING:
        docker_instance_drop_calls(instance);
        step_logs(instance);
        break;
    default: /* nothing of it runs, or it is being ended anyway */
        break;
    }
}

void docker_instance_paused(struct docker_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    char id[DOCKER_INSTANCE_ID_SIZE];
    if (instance->state != DOCKER_READY) {
        return;
    }
    memcpy(id, instance->id, sizeof id);
    docker_warm_fail(instance);
    if (instance->state != DOCKER_READY) {
        return; /* to whom it was being handed wants it stopped now */
    }
    docker_instance_drop_calls(instance);
    liveness_answer(&instance->liveness, false);
    docker_instance_free(instance);
    events->gone(events->owner, id, "its container was paused");
}
