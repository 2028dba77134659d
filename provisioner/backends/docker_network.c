#include "provisioner/backends/docker_network.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_labels.h"

#define CALL_TIMEOUT_MS 30000
#define ICC_OPTION      "com.docker.network.bridge.enable_icc"

struct docker_network_call {
    struct docker_engine *engine;
    struct docker_call *call;
    void (*done)(void *argument, const struct error *err);
    void *argument;
};

void docker_network_cancel(struct docker_network_call *call) {
    if (call != NULL) {
        docker_call_cancel(call->call);
        free(call);
    }
}

static void finish(struct docker_network_call *call, const struct error *err) {
    void (*done)(void *, const struct error *) = call->done;
    void *argument = call->argument;
    free(call);
    done(argument, err);
}

static void on_made(void *argument, const struct docker_answer *answer) {
    struct docker_network_call *call = argument;
    struct error err;
    call->call = NULL;
    bool is_there = answer->status == 201 || answer->status == 409; /* somebody else was faster */
    if (answer->status == 201) {
        log_info(NULL, "network `" DOCKER_NETWORK_OWN "` made: containers in it cannot reach each other");
    } else if (!is_there) {
        docker_answer_error(answer, &err, "make the network `" DOCKER_NETWORK_OWN "`");
    }
    finish(call, is_there ? NULL : &err);
}

static struct json_object *network_body(void) {
    struct json_object *body = json_object_new_object();
    struct json_object *options = json_object_new_object();
    struct json_object *labels = json_object_new_object();
    if (body == NULL || options == NULL || labels == NULL) {
        json_object_put(body);
        json_object_put(options);
        json_object_put(labels);
        return NULL;
    }
    bool ok = json_add(body, "Options", options) && json_add(body, "Labels", labels) &&
              json_add_string(body, "Name", DOCKER_NETWORK_OWN) && json_add_string(body, "Driver", "bridge") &&
              json_add_bool(body, "CheckDuplicate", true) && json_add_string(options, ICC_OPTION, "false") &&
              json_add_string(labels, DOCKER_LABEL_MANAGED_BY, DOCKER_MANAGED_BY);
    if (!ok) {
        json_object_put(body);
        return NULL;
    }
    return body;
}

static bool make(struct docker_network_call *call) {
    cleanup_json struct json_object *body = network_body();
    const struct docker_request request = {
        .method = "POST", .path = "/networks/create", .body = body, .timeout_ms = CALL_TIMEOUT_MS};
    call->call = body == NULL ? NULL : docker_call_start(call->engine, &request, on_made, call);
    return call->call != NULL;
}

static void on_looked(void *argument, const struct docker_answer *answer) {
    struct docker_network_call *call = argument;
    struct error err;
    call->call = NULL;
    if (answer->status == 404) {
        if (!make(call)) {
            error_set(&err, ERROR_INTERNAL, "out of memory");
            finish(call, &err);
        }
        return;
    }
    if (answer->status != 200) {
        docker_answer_error(answer, &err, "look for the network `" DOCKER_NETWORK_OWN "`");
        finish(call, &err);
        return;
    }
    const char *icc = json_get_string(json_get_object(answer->json, "Options"), ICC_OPTION);
    if (icc == NULL || strcmp(icc, "false") != 0) {
        log_warning(NULL, "the network `" DOCKER_NETWORK_OWN "` lets one user's container reach another's: remove it, "
                          "and it is made anew with " ICC_OPTION "=false, or make it so yourself");
    }
    finish(call, NULL);
}

struct docker_network_call *docker_network_ensure(struct docker_engine *engine,
                                                  void (*done)(void *argument, const struct error *err),
                                                  void *argument) {
    const struct docker_request request = {
        .method = "GET", .path = "/networks/" DOCKER_NETWORK_OWN, .timeout_ms = CALL_TIMEOUT_MS};
    struct docker_network_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    *call = (struct docker_network_call){.engine = engine, .done = done, .argument = argument};
    call->call = docker_call_start(engine, &request, on_looked, call);
    if (call->call == NULL) {
        free(call);
        return NULL;
    }
    return call;
}
