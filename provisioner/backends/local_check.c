/* local_check.c - whether a local instance that runs still answers.
 *
 * A refused connection is its end: nobody listens any more. Silence is not: a machine without memory makes everybody on
 * it silent for a while, and a kill would cost the user what runs there. A silent instance is asked on, until it
 * answers or UNRESPONSIVE_MS have passed. What counts is the time that probes have waited, not the clock's: if it was
 * the whole machine that stood still, the instance's time begins when it goes on. */
#include "common/log.h"
#include "provisioner/backends/local_instance.h"

#define CHECK_TIMEOUT_MS 2000 /* somebody waits */
#define WATCH_TIMEOUT_MS 5000

static void on_silence(struct local_instance *instance, const struct error *err, bool is_refused) {
    int silent_ms = instance->silent_ms + (instance->silent_ms == 0 ? CHECK_TIMEOUT_MS : WATCH_TIMEOUT_MS);
    if (is_refused || silent_ms >= UNRESPONSIVE_MS) {
        local_instance_end(instance, "it runs but does not answer");
        return;
    }
    if (instance->silent_ms == 0) {
        log_warning(NULL, "instance %s runs, but %s", instance->id, err->message);
    }
    local_instance_watch_silence(instance, silent_ms);
    waiting_checks_answer(&instance->checks, false);
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct local_instance *instance = argument;
    instance->probe = NULL;
    if (err != NULL) {
        on_silence(instance, err, is_refused);
        return;
    }
    if (instance->silent_ms > 0) {
        log_info(NULL, "instance %s answers again", instance->id);
    }
    instance->silent_ms = 0;
    waiting_checks_answer(&instance->checks, true);
}

void local_instance_watch_silence(struct local_instance *instance, int silent_ms) {
    struct error err;
    bool is_watched =
        instance->probe != NULL || local_instance_probe(instance, WATCH_TIMEOUT_MS, instance->key, on_probed, &err);
    instance->silent_ms = is_watched ? silent_ms : 0; /* we cannot look: the next check begins anew */
}

void local_instance_check(struct local_instance *instance, void (*checked)(void *argument, bool alive),
                          void *argument) {
    struct error err;
    if (instance->silent_ms > 0) {
        checked(argument, false); /* it is being asked on */
        return;
    }
    bool is_looking =
        instance->probe != NULL || local_instance_probe(instance, CHECK_TIMEOUT_MS, instance->key, on_probed, &err);
    if (!is_looking || !waiting_checks_add(&instance->checks, checked, argument)) {
        checked(argument, true); /* we cannot look: no reason to end what was fine a moment ago */
    }
}
