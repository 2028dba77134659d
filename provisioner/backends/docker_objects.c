#include "provisioner/backends/docker_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/backends/object_query.h"

#define LIST_TIMEOUT_MS 120000
#define LIST_PATH       "/containers/json?all=1&filters="

/* --- listing ------------------------------------------------------------------------------------------------------ */

/* Only of our deployment: another Terminals on this engine is none of our business. */
static void tell(struct object_query *query, struct json_object *entry) {
    struct docker_labels labels;
    const char *id = json_get_string(entry, "Id");
    struct json_object *names = json_get_array(entry, "Names");
    const char *name = json_object_get_string(names == NULL ? NULL : json_object_array_get_idx(names, 0));
    docker_labels_read(json_get_object(entry, "Labels"), &labels);
    bool is_ours = labels.deployment != NULL && strcmp(labels.deployment, query->backend->deployment) == 0;
    if (id == NULL || !is_ours || labels.instance_id == NULL) {
        return;
    }
    const struct backend_object object = {.kind = "container",
                                          .name = name == NULL ? id : name + (name[0] == '/'),
                                          .handle = id,
                                          .instance_id = labels.instance_id};
    query->each(query->argument, &object);
}

static void on_list(void *argument, const struct docker_answer *answer) {
    struct object_query *query = argument;
    struct error err;
    if (answer->status != 200 || !json_object_is_type(answer->json, json_type_array)) {
        docker_answer_error(answer, &err, "list containers");
        object_query_finish(query, &err);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(answer->json); i++) {
        tell(query, json_object_array_get_idx(answer->json, i));
    }
    object_query_finish(query, NULL);
}

static void ask_for_list(struct object_query *query) {
    char filter[128];
    cleanup_free char *path = NULL;
    snprintf(filter, sizeof filter, "{\"label\":[\"" DOCKER_LABEL_DEPLOYMENT "=%s\"]}", query->backend->deployment);
    cleanup_free char *escaped = docker_escape(filter);
    if (escaped == NULL || asprintf(&path, LIST_PATH "%s", escaped) < 0) {
        path = NULL;
        object_query_fail(query);
        return;
    }
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = LIST_TIMEOUT_MS};
    if (docker_call_start(query->backend->engine, &request, on_list, query) == NULL) {
        object_query_fail(query);
    }
}

/* The link may not have got as far as asking for it. */
static void on_version(void *argument, const struct docker_answer *answer) {
    struct object_query *query = argument;
    const char *newest = json_get_string(answer->json, "ApiVersion");
    const char *oldest = json_get_string(answer->json, "MinAPIVersion");
    struct error err;
    if (answer->status != 200 || newest == NULL) {
        docker_answer_error(answer, &err, "ask the engine for its version");
        object_query_finish(query, &err);
        return;
    }
    docker_engine_set_version(query->backend->engine, newest, oldest == NULL ? newest : oldest);
    ask_for_list(query);
}

void docker_objects_list(struct backend *backend, void (*each)(void *argument, const struct backend_object *object),
                         void (*done)(void *argument, const struct error *err), void *argument) {
    static const struct docker_request request = {
        .method = "GET", .path = "/version", .timeout_ms = DOCKER_LOOK_TIMEOUT_MS, .without_version = true};
    struct object_query *query = object_query_new(backend, each, NULL, done, argument);
    if (query == NULL) {
        return;
    }
    if (docker_call_start(backend->engine, &request, on_version, query) == NULL) {
        object_query_fail(query);
    }
}

/* --- removing ----------------------------------------------------------------------------------------------------- */

static void on_removed(void *argument, const struct docker_answer *answer) {
    struct object_query *query = argument;
    struct error err;
    /* 409: somebody else is removing it */
    bool is_gone = answer->status == 204 || answer->status == 404 || answer->status == 409;
    if (!is_gone) {
        docker_answer_error(answer, &err, "remove container %.12s", query->handle);
    }
    object_query_finish(query, is_gone ? NULL : &err);
}

void docker_objects_remove(struct backend *backend, const char *kind, const char *handle,
                           void (*done)(void *argument, const struct error *err), void *argument) {
    (void)kind;
    cleanup_free char *path = NULL;
    struct object_query *query = object_query_new(backend, NULL, handle, done, argument);
    if (query == NULL) {
        return;
    }
    if (asprintf(&path, "/containers/%s?force=1&v=1", handle) < 0) {
        path = NULL;
        object_query_fail(query);
        return;
    }
    const struct docker_request request = {.method = "DELETE", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    if (docker_call_start(backend->engine, &request, on_removed, query) == NULL) {
        object_query_fail(query);
    }
}
