#include "instance/notebooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/files.h"
#include "instance/instance.h"
#include "instance/jupyter.h"
#include "instance/notebook_kernel.h"
#include "instance/options.h"
#include "instance/routes.h"

#define ID_SIZE 13

/* A session: one notebook with a kernel of its own. */
struct notebook {
    struct instance *instance;
    char id[ID_SIZE];
    char *path;
    char *kernel_name; /* NULL until it is ready */
    bool is_ending;    /* nobody finds it any more */
    struct notebook_kernel *kernel;
    struct notebook *next;
};

/* An HTTP request that waits for the kernel. */
struct waiting {
    struct http_request *request;
    struct notebook *notebook; /* of a session that is being opened: without this request nobody knows it */
    struct notebook_order *order;
};

bool notebooks_is_offered(const struct instance *instance) {
    cleanup_free char *python = instance->options->is_notebooks_enabled ? jupyter_find_python() : NULL;
    return python != NULL;
}

static void remove_notebook(struct notebook *notebook) {
    struct notebook **at = &notebook->instance->notebooks;
    while (*at != notebook) {
        at = &(*at)->next;
    }
    *at = notebook->next;
    free(notebook->path);
    free(notebook->kernel_name);
    free(notebook);
}

static void end_notebook(struct notebook *notebook) {
    if (!notebook->is_ending) {
        notebook->is_ending = true;
        notebook_kernel_end(notebook->kernel);
    }
}

void notebooks_end_all(struct instance *instance) {
    while (instance->notebooks != NULL) {
        notebook_kernel_drop(instance->notebooks->kernel);
        remove_notebook(instance->notebooks);
    }
}

/* The kernel is gone, told to or by itself. */
static void on_ended(void *state) {
    remove_notebook(state);
}

static void make_id(char id[ID_SIZE]) {
    unsigned char random[6];
    while (getrandom(random, sizeof random, 0) != sizeof random) {
        /* Only a signal in early boot interrupts it (getrandom(2)). */
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
}

/* ---- waiting for the kernel ---- */

static void release_waiting(void *state) {
    struct waiting *waiting = state;
    if (waiting->order != NULL) {
        notebook_order_forget(waiting->order);
        if (waiting->notebook != NULL) {
            end_notebook(waiting->notebook);
        }
    }
    free(waiting);
}

/* Sends the order (taken over) and lets the request wait. */
static void wait_for(struct http_request *request, struct notebook *notebook, struct json_object *order,
                     notebook_answered answered, bool is_opening) {
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting != NULL) {
        *waiting = (struct waiting){request, is_opening ? notebook : NULL, NULL};
        waiting->order = order != NULL ? notebook_kernel_order(notebook->kernel, order, answered, waiting) : NULL;
        http_set_state(request, waiting, release_waiting);
    }
    json_object_put(order);
    if (waiting == NULL || waiting->order == NULL) {
        if (is_opening) {
            end_notebook(notebook);
        }
        http_respond_json(request, 500, NULL);
    }
}

/* The result in an answer; or else the problem was answered. */
static struct json_object *take_result(struct waiting *waiting, struct json_object *answer) {
    struct json_object *result = answer != NULL ? json_get_object(answer, "result") : NULL;
    waiting->order = NULL;
    if (answer == NULL) {
        http_respond_error(waiting->request, 409, "The kernel is gone");
    } else if (result == NULL) {
        const char *detail = json_get_string(answer, "detail");
        int64_t status = json_get_int(answer, "status", 500);
        http_respond_error(waiting->request, status >= 400 && status < 600 ? (int)status : 500, "%s",
                           detail != NULL ? detail : "The kernel gave no answer");
    }
    return result;
}

/* ---- the handlers ---- */

/* {"id": …, "path": …, "kernel": …, "status": "ready"} */
static void respond_notebook(struct http_request *request, const struct notebook *notebook, bool with_path) {
    struct json_object *body = json_object_new_object();
    if (body == NULL || !json_add_string(body, "id", notebook->id) ||
        (with_path && !files_add_path(body, "path", notebook->path)) ||
        !json_add_string(body, "kernel", notebook->kernel_name) || !json_add_string(body, "status", "ready")) {
        json_object_put(body);
        body = NULL;
    }
    http_respond_json(request, 200, body);
}

static void on_opened(void *state, struct json_object *answer) {
    struct waiting *waiting = state;
    struct notebook *notebook = waiting->notebook;
    struct json_object *result = take_result(waiting, answer);
    const char *name = result != NULL ? json_get_string(result, "kernel") : NULL;
    if (name != NULL) {
        notebook->kernel_name = strdup(name);
        respond_notebook(waiting->request, notebook, false);
    } else if (answer != NULL) { /* else it ends by itself */
        end_notebook(notebook);
    }
}

static struct notebook *add_notebook(struct instance *instance, char **path, struct error *err) {
    size_t count = 0;
    struct notebook **last = &instance->notebooks;
    for (; *last != NULL; last = &(*last)->next) {
        count += !(*last)->is_ending;
    }
    if (count >= instance->options->max_sessions) {
        error_set(err, ERROR_CAPACITY, "Maximum number of notebook sessions (%zu) reached", count);
        return NULL;
    }
    struct notebook *notebook = calloc(1, sizeof *notebook);
    if (notebook == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    notebook->kernel = notebook_kernel_start(instance->loop, instance->home, on_ended, notebook, err);
    if (notebook->kernel == NULL) {
        free(notebook);
        return NULL;
    }
    notebook->instance = instance;
    notebook->path = steal_pointer(path);
    make_id(notebook->id);
    *last = notebook;
    return notebook;
}

static void open_notebook(struct http_request *request) {
    const char *given = NULL;
    struct error err = {0};
    struct stat status;
    http_json_text(request, "path", true, &given, NULL);
    if (http_refused_as_invalid(request)) {
        return;
    }
    cleanup_free char *path = files_resolve_json(request, "path", &err);
    if (path == NULL) {
        files_respond_error(request, FILES_CALL_READS, &err);
        return;
    }
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode)) {
        http_respond_error(request, 404, "Notebook not found: %s", path);
        return;
    }
    struct json_object *order = json_object_new_object();
    bool is_made = order != NULL && json_add_string(order, "op", "open") && files_add_path(order, "path", path);
    struct notebook *notebook = is_made ? add_notebook(http_instance(request), &path, &err) : NULL;
    if (notebook == NULL) {
        json_object_put(order);
        http_respond_error(request, err.code == ERROR_CAPACITY ? 429 : 500, "%s", err.message);
        return;
    }
    wait_for(request, notebook, order, on_opened, true);
}

static struct notebook *find_notebook(struct http_request *request) {
    const char *id = http_path_parameter(request, "session_id", NULL);
    struct notebook *notebook = http_instance(request)->notebooks;
    while (notebook != NULL &&
           (strcmp(notebook->id, id) != 0 || notebook->kernel_name == NULL || notebook->is_ending)) {
        notebook = notebook->next;
    }
    if (notebook == NULL) {
        http_respond_error(request, 404, "Session not found");
    }
    return notebook;
}

static void on_executed(void *state, struct json_object *answer) {
    struct waiting *waiting = state;
    struct json_object *result = take_result(waiting, answer);
    if (result != NULL) {
        http_respond_json(waiting->request, 200, json_object_get(result));
    }
}

static void execute_cell(struct http_request *request) {
    int64_t index = 0;
    const char *source = NULL;
    size_t length = 0;
    http_json_integer(request, "cell_index", true, &index);
    http_json_text(request, "source", false, &source, &length);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct notebook *notebook = find_notebook(request);
    if (notebook == NULL) {
        return;
    }
    struct json_object *order = json_object_new_object();
    if (order != NULL &&
        (!json_add_string(order, "op", "execute") || !json_add_int(order, "cell_index", index) ||
         (source != NULL && !json_add(order, "source", json_object_new_string_len(source, (int)length))))) {
        json_object_put(order);
        order = NULL;
    }
    wait_for(request, notebook, order, on_executed, false);
}

static void get_notebook(struct http_request *request) {
    const struct notebook *notebook = find_notebook(request);
    if (notebook != NULL) {
        respond_notebook(request, notebook, true);
    }
}

static void close_notebook(struct http_request *request) {
    struct notebook *notebook = find_notebook(request);
    if (notebook != NULL) {
        static const char body[] = "{\"status\":\"stopped\"}";
        end_notebook(notebook);
        http_respond_static(request, 200, "application/json", body, sizeof body - 1);
    }
}

const struct http_route notebook_routes[] = {
    {.method = "POST",
     .pattern = "/notebooks",
     .body = HTTP_BODY_JSON,
     .handle = open_notebook,
     .is_offered = notebooks_is_offered},
    {.method = "POST",
     .pattern = "/notebooks/{session_id}/execute",
     .body = HTTP_BODY_JSON,
     .handle = execute_cell,
     .is_offered = notebooks_is_offered},
    {.method = "GET", .pattern = "/notebooks/{session_id}", .handle = get_notebook, .is_offered = notebooks_is_offered},
    {.method = "DELETE",
     .pattern = "/notebooks/{session_id}",
     .handle = close_notebook,
     .is_offered = notebooks_is_offered},
    HTTP_ROUTES_END,
};
