#include "provisioner/instance_command.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "provisioner/http_call.h"

#define ANSWER_MAX_BYTES (256 * 1024) /* with one piece of the command's output in it */
#define PATH_SIZE        64

struct instance_command {
    struct http_call *call;
    instance_command_done *done;
    void *argument;
};

void instance_command_cancel(struct instance_command *command) {
    if (command != NULL) {
        http_call_cancel(command->call);
        free(command);
    }
}

/* {"status": "done", "exit_code": 0, …} */
static const char *read_answer(int status, const char *body, size_t length, int64_t *exit_code) {
    static const char unknown[] = "the answer to POST /execute makes no sense";
    if (status != 200) {
        return "the instance refused to run it";
    }
    cleanup_json struct json_object *answer = json_parse_object(body, length, NULL);
    const char *state = answer == NULL ? NULL : json_get_string(answer, "status");
    if (state == NULL) {
        return unknown;
    }
    if (strcmp(state, "running") == 0) {
        return "it was not done in time";
    }
    *exit_code = json_get_int(answer, "exit_code", -1);
    return NULL;
}

static void on_answer(void *argument, int status, const char *body, size_t length, const char *failure) {
    struct instance_command *command = argument;
    instance_command_done *done = command->done;
    void *owner = command->argument;
    int64_t exit_code = -1;
    if (failure == NULL) {
        failure = read_answer(status, body, length, &exit_code);
    }
    free(command);
    done(owner, exit_code, failure);
}

static struct http_call *post(const struct tenant *tenant, const char *text, int timeout_ms,
                              struct instance_command *command) {
    char path[PATH_SIZE];
    cleanup_json struct json_object *body = json_object_new_object();
    if (body == NULL || !json_add_string(body, "command", text)) {
        return NULL;
    }
    /* The instance answers at the command's end, or a moment before our own patience ends. */
    snprintf(path, sizeof path, "/execute?wait=%d&tail=1", timeout_ms / 1000 + 1);
    const struct http_call_request request = {
        .host = tenant->record.host,
        .port = tenant->record.port,
        .path = path,
        .json = json_text(body, &(size_t){0}),
        .key = tenant->key,
        .timeout_ms = timeout_ms,
        .body_max_bytes = ANSWER_MAX_BYTES,
    };
    return request.json == NULL ? NULL : http_call_start(tenant->provisioner->base, &request, on_answer, command);
}

struct instance_command *instance_command_start(const struct tenant *tenant, const char *command, int timeout_ms,
                                                instance_command_done *done, void *argument) {
    struct instance_command *started = calloc(1, sizeof *started);
    if (started == NULL) {
        return NULL;
    }
    *started = (struct instance_command){.done = done, .argument = argument};
    started->call = post(tenant, command, timeout_ms, started);
    if (started->call == NULL) {
        free(started);
        return NULL;
    }
    return started;
}
