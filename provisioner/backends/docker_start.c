/* docker_start.c - the steps of a start: the image, the container, its first sign of life. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_home.h"
#include "provisioner/backends/docker_instance.h"
#include "provisioner/backends/docker_network.h"
#include "provisioner/backends/docker_roundup.h"
#include "provisioner/backends/docker_security.h"

static void step_image(struct docker_instance *instance);
static void step_start(struct docker_instance *instance);

static const char *image_of(const struct docker_instance *instance) {
    return docker_create_image(instance->backend->settings, instance->spec.policy);
}

/* The answer to a step as the failure of the start. */
static void fail_with(struct docker_instance *instance, const struct docker_answer *answer, const char *what) {
    struct error err;
    docker_answer_error(answer, &err, "%s", what);
    docker_instance_fail(instance, &err);
}

/* --- the container runs ------------------------------------------------------------------------------------------- */

static void on_looked(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct docker_container container;
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status != 200 || !docker_container_read(answer->json, &container)) {
        fail_with(instance, answer, "look at the new container");
    } else if (!container.is_running) {
        docker_instance_ended(instance, container.exit_code, container.is_paused ? "it was paused" : NULL);
    } else {
        docker_instance_probe(instance, &container);
    }
}

static void step_look(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 32];
    snprintf(path, sizeof path, "/containers/%s/json", instance->container_id);
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_LOOKING;
    docker_instance_call(instance, &request, on_looked);
}

static void on_network_again(void *argument, const struct error *err) {
    struct docker_instance *instance = argument;
    instance->network = NULL;
    if (err != NULL) {
        docker_instance_fail(instance, err);
    } else {
        step_start(instance);
    }
}

/* Somebody removed our network: it is made anew, once. */
static bool network_was_missing(struct docker_instance *instance, const struct docker_answer *answer) {
    if (answer->status != 404 || strstr(docker_answer_message(answer), "network " DOCKER_NETWORK_OWN) == NULL ||
        instance->backend->settings->docker_network != NULL || instance->tries > 0) {
        return false;
    }
    instance->tries++;
    instance->network = docker_network_ensure(instance->backend->engine, on_network_again, instance);
    return instance->network != NULL;
}

static void on_started(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 204 || answer->status == 304) {
        step_look(instance);
    } else if (!network_was_missing(instance, answer)) {
        fail_with(instance, answer, "start the container");
    }
}

static void step_start(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 32];
    snprintf(path, sizeof path, "/containers/%s/start", instance->container_id);
    const struct docker_request request = {.method = "POST", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    instance->state = DOCKER_STARTING;
    docker_instance_call(instance, &request, on_started);
}

/* --- the container ------------------------------------------------------------------------------------------------ */

/* The engine has made it, and it must not run before it is written down. */
static void take_container(struct docker_instance *instance, const struct docker_answer *answer) {
    const struct backend_events *events = &instance->backend->events;
    struct error err = {0};
    const char *id = json_get_string(answer->json, "Id");
    if (id == NULL || strlen(id) >= DOCKER_ID_SIZE) {
        error_set(&err, ERROR_BACKEND, "the Docker engine made a container without an id");
        docker_instance_fail(instance, &err);
        return;
    }
    docker_instance_set_container(instance, id);
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (!events->created(events->owner, instance->id, id, &err)) {
        docker_instance_fail(instance, &err);
        return;
    }
    instance->tries = 0;
    step_start(instance);
}

/* The storage driver knows no limits: said once, and the instance gets none. */
static bool storage_is_unlimited(struct docker_instance *instance, const struct docker_answer *answer) {
    const char *message = docker_answer_message(answer);
    const struct policy *policy = instance->spec.policy;
    if (instance->backend->storage_is_unlimited || policy == NULL || policy->storage_bytes <= 0 ||
        (strstr(message, "storage-opt") == NULL && strstr(message, "storage option") == NULL)) {
        return false;
    }
    instance->backend->storage_is_unlimited = true;
    log_warning(NULL, "policies' limits of storage are not enforced: %s", message);
    return true;
}

static void on_created(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    if (answer->status == 201) {
        take_container(instance, answer);
        return;
    }
    if (answer->status == 0) {
        docker_roundup_again(instance->backend->roundup); /* it may have been made all the same */
    }
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 409) {
        docker_clear_begin(instance);
    } else if (answer->status == 404 && !instance->image_was_pulled &&
               strstr(docker_answer_message(answer), "mage") != NULL) {
        step_image(instance); /* removed since we looked */
    } else if (storage_is_unlimited(instance, answer)) {
        docker_start_create(instance);
    } else {
        fail_with(instance, answer, "create the container");
    }
}

static struct json_object *make_body(struct docker_instance *instance, struct error *err) {
    const struct backend *backend = instance->backend;
    char network[DOCKER_NETWORK_NAME_SIZE];
    bool is_warm = instance->spec.home == NULL;
    cleanup_free char *home = is_warm ? NULL : docker_link_translate(backend->link, instance->spec.home, err);
    docker_create_network(backend->settings, instance->spec.instance_name, network);
    const struct docker_plan plan = {
        .spec = &instance->spec,
        .settings = backend->settings,
        .deployment = backend->deployment,
        .home = home,
        .network = network,
        .image = image_of(instance),
        .image_id = instance->image_id,
        .image_is_unprivileged = instance->image_is_unprivileged,
        .cpus = docker_link_cpus(backend->link),
        .without_storage_opt = backend->storage_is_unlimited,
    };
    return home == NULL && !is_warm ? NULL : docker_create_body(&plan, err);
}

void docker_start_create(struct docker_instance *instance) {
    struct error err = {0};
    char path[NAME_FOLDER_SIZE + 32];
    cleanup_json struct json_object *body = make_body(instance, &err);
    if (body == NULL) {
        err.code = err.code == ERROR_INVALID ? ERROR_BACKEND : err.code;
        docker_instance_fail(instance, &err);
        return;
    }
    snprintf(path, sizeof path, "/containers/create?name=%s", instance->spec.instance_name);
    const struct docker_request request = {
        .method = "POST", .path = path, .body = body, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    instance->state = DOCKER_CREATING;
    docker_instance_call(instance, &request, on_created);
}

/* --- the image ---------------------------------------------------------------------------------------------------- */

/* The folder is made for whoever runs in the container. */
static bool give_home(struct docker_instance *instance, struct error *err) {
    struct backend *backend = instance->backend;
    const struct policy *policy = instance->spec.policy;
    char user[DOCKER_USER_SIZE];
    bool is_set = false;
    bool opened = false;
    uid_t uid;
    gid_t gid;
    if (policy != NULL && !docker_security_user(policy->container_security_context, user, &is_set, err)) {
        return false;
    }
    docker_home_owner(is_set ? user : instance->image_user, &uid, &gid);
    if (!docker_home_give(instance->spec.home, uid, gid, &opened, err)) {
        return error_veil(err, "The user's folder cannot be given to the instance");
    }
    if (opened && !backend->opened_homes_are_known) {
        backend->opened_homes_are_known = true;
        log_warning(NULL,
                    "homes cannot be given to user %u, as whom instances run, because we are not root: they are "
                    "writable for everybody who can pass the data folder, and purging files may fail",
                    (unsigned)uid);
    }
    return true;
}

static void take_image(struct docker_instance *instance, struct json_object *json) {
    struct json_object *config = json_get_object(json, "Config");
    const char *user = json_get_string(config, "User");
    const char *id = json_get_string(json, "Id");
    const char *unprivileged = json_get_string(json_get_object(config, "Labels"), DOCKER_LABEL_UNPRIVILEGED);
    struct error err = {0};
    free(instance->image_user);
    free(instance->image_id);
    instance->image_user = strdup(user == NULL ? "" : user);
    instance->image_id = strdup(id == NULL ? "" : id);
    instance->image_is_unprivileged = unprivileged != NULL && strcmp(unprivileged, "true") == 0;
    if (instance->image_user == NULL || instance->image_id == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
    }
    bool has_home = instance->spec.home != NULL;
    if (err.code != ERROR_NONE || (has_home && !give_home(instance, &err))) {
        docker_instance_fail(instance, &err);
        return;
    }
    instance->tries = 0;
    docker_start_create(instance);
}

static void on_progress(void *argument, const char *text) {
    struct docker_instance *instance = argument;
    const struct backend_events *events = &instance->backend->events;
    if (events->progress != NULL) {
        events->progress(events->owner, instance->id, text);
    }
}

static void on_pulled(void *argument, const struct error *err) {
    struct docker_instance *instance = argument;
    instance->pull = NULL;
    if (err != NULL) {
        docker_instance_fail(instance, err);
        return;
    }
    instance->image_was_pulled = true;
    step_image(instance);
}

static void step_pull(struct docker_instance *instance) {
    struct backend *backend = instance->backend;
    instance->state = DOCKER_PULLING;
    instance->pull =
        docker_pull_join(&backend->pulls, backend->engine, image_of(instance), on_progress, on_pulled, instance);
    if (instance->pull == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "pull an image: out of memory");
        docker_instance_fail(instance, &err);
    } else {
        on_progress(instance, "the image is being pulled");
    }
}

static void on_image(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 200) {
        take_image(instance, answer->json);
    } else if (answer->status == 404 && !instance->image_was_pulled) {
        step_pull(instance);
    } else {
        fail_with(instance, answer, "look for the image");
    }
}

static void step_image(struct docker_instance *instance) {
    cleanup_free char *name = docker_escape(image_of(instance));
    cleanup_free char *path = NULL;
    struct error err;
    if (name == NULL || asprintf(&path, "/images/%s/json", name) < 0) {
        path = NULL;
        error_set(&err, ERROR_INTERNAL, "out of memory");
        docker_instance_fail(instance, &err);
        return;
    }
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_IMAGE;
    docker_instance_call(instance, &request, on_image);
}

void docker_instance_start(struct docker_instance *instance) {
    const struct docker_link *link = instance->backend->link;
    if (docker_link_state(link) == DOCKER_LINK_AWAY) {
        struct error err;
        docker_link_away_error(link, &err);
        docker_instance_fail(instance, &err);
    } else if (docker_link_state(link) == DOCKER_LINK_UP) {
        step_image(instance);
    } /* else WAITING: docker_instance_link_changed() */
}
