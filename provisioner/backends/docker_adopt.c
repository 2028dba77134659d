/* docker_adopt.c - an instance that ran before we did: is its container there, is it this one, does it answer? */
#include <stdio.h>
#include <string.h>

#include "provisioner/backends/docker_instance.h"
#include "provisioner/backends/docker_roundup.h"

#define BLIND_TIMEOUT_MS 2000 /* while the engine is away: it answers where it did, or not */

static void not_adopted(struct docker_instance *instance, enum error_code code, const char *why) {
    struct error err;
    error_set(&err, code, "%s", why);
    docker_instance_fail(instance, &err);
}

/* Without removing anything: what is there is not this instance. */
static void not_there(struct docker_instance *instance, const char *why) {
    docker_instance_set_container(instance, "");
    not_adopted(instance, ERROR_BACKEND, why);
}

/* Its maker died before it had written down what it asked the engine for, and there is something by that name, or may
 * be by now: as long as the instance was known, the roundup took that for the instance's. */
static void never_had(struct docker_instance *instance, const char *container, const char *why) {
    struct docker_roundup *roundup = instance->backend->roundup;
    char seen[NAME_FOLDER_SIZE];
    snprintf(seen, sizeof seen, "%s", container);
    not_there(instance, why);
    docker_roundup_look(roundup, seen);
}

/* The engine cannot be asked, for `why`: whoever answers where the instance did is it, until a list says otherwise. */
static void adopt_blindly(struct docker_instance *instance, const struct error *why) {
    if (instance->address.port == 0) {
        docker_instance_fail_leaving_all(instance, why);
        return;
    }
    instance->is_blind = true;
    docker_roundup_again(instance->backend->roundup);
    docker_instance_await_answer(instance, BLIND_TIMEOUT_MS);
}

static bool is_this_instance(const struct docker_instance *instance, const struct docker_container *container) {
    const char *id = container->labels.instance_id;
    bool is_known = instance->container_id[0] != '\0'; /* written down: then it need not carry our id */
    bool carries_id = id != NULL && strcmp(id, instance->id) == 0;
    if (container->labels.is_warm) { /* nobody's, or somebody's whom its labels cannot name: it is its id that tells */
        return is_known && carries_id && container->labels.is_managed;
    }
    return docker_labels_match(&container->labels, &instance->spec) && (is_known || carries_id);
}

static void on_adopted(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct docker_container container;
    struct error err;
    instance->call = NULL;
    if (answer->status == 404 && instance->container_id[0] == '\0') {
        never_had(instance, docker_instance_container(instance), "its container is gone");
    } else if (answer->status == 404) {
        not_there(instance, "its container is gone");
    } else if (answer->status != 200 || !docker_container_read(answer->json, &container)) {
        docker_answer_error(answer, &err, "look at its container");
        adopt_blindly(instance, &err);
    } else if (!is_this_instance(instance, &container)) {
        never_had(instance, container.id, "it never had a container");
    } else if (container.is_paused) {
        not_there(instance, "its container is paused");
    } else {
        docker_instance_set_container(instance, container.id);
        if (container.is_running) {
            docker_instance_probe(instance, &container);
        } else {
            not_adopted(instance, ERROR_BACKEND, "its container does not run");
        }
    }
}

static void step_adopt(struct docker_instance *instance) {
    char path[NAME_FOLDER_SIZE + 32];
    const char *name = instance->container_id[0] != '\0' ? instance->container_id : docker_instance_container(instance);
    snprintf(path, sizeof path, "/containers/%s/json", name);
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_ADOPTING;
    docker_instance_call(instance, &request, on_adopted);
}

void docker_instance_adopt(struct docker_instance *instance) {
    enum docker_link_state state = docker_link_state(instance->backend->link);
    struct error err;
    instance->is_adoption = true;
    if (state == DOCKER_LINK_AWAY) {
        docker_link_away_error(instance->backend->link, &err);
        adopt_blindly(instance, &err);
    } else if (state == DOCKER_LINK_UP) {
        step_adopt(instance);
    } /* else WAITING */
}
