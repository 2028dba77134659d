/* docker_check.c - whether an instance that was ready still answers (silence.h). */
#include "provisioner/backends/docker_instance.h"
#include "provisioner/backends/silence.h"

static void on_checked(void *argument, const struct error *err, bool is_refused) {
    struct docker_instance *instance = argument;
    instance->probe = NULL;
    enum silence silence = silence_after(&instance->silent_ms, err, is_refused, docker_instance_container(instance));
    if (silence == SILENCE_TOO_LONG) {
        docker_instance_ended(instance, -1, "it runs but does not answer");
        return;
    }
    if (silence == SILENCE_BORNE) {
        docker_instance_watch_silence(instance, instance->silent_ms);
    }
    waiting_checks_answer(&instance->checks, silence == SILENCE_NONE);
}

static bool ask(struct docker_instance *instance, int timeout_ms) {
    if (instance->probe == NULL) {
        instance->probe = health_probe_start(instance->backend->base, instance->address.host, instance->address.port,
                                             instance->spec.key, timeout_ms, on_checked, instance);
    }
    return instance->probe != NULL;
}

void docker_instance_watch_silence(struct docker_instance *instance, int silent_ms) {
    /* We cannot look: the next check begins anew. */
    instance->silent_ms = ask(instance, SILENCE_WATCH_MS) ? silent_ms : 0;
}

void docker_instance_check(struct docker_instance *instance, void (*checked)(void *argument, bool alive),
                           void *argument) {
    if (instance->silent_ms > 0) {
        checked(argument, false); /* it is being asked on */
    } else if (!ask(instance, SILENCE_CHECK_MS) || !waiting_checks_add(&instance->checks, checked, argument)) {
        checked(argument, true); /* we cannot look: no reason to give up what was fine a moment ago */
    }
}
