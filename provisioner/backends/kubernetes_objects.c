#include "provisioner/backends/kubernetes_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_terminal.h"

#define LIST_QUERY      "?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dterminals"
#define LIST_TIMEOUT_MS 60000
#define UID_MAX_BYTES   64

static const struct kind {
    const char *plural;
    const char *name;
    bool holds_files;
    bool is_ours[2]; /* without an operator, and with one, whose business the rest is */
} kinds[] = {
    {KUBERNETES_TERMINALS, "terminal", false, {false, true}},
    {"pods", "pod", false, {true, false}},
    {"services", "service", false, {true, false}},
    {"secrets", "secret", false, {true, false}},
    {"persistentvolumeclaims", "claim", true, {true, true}},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* Calls to the API server, one after the other, and who waits for them. */
struct asking {
    struct backend *backend;
    size_t kind; /* of kinds[] */
    void (*each)(void *argument, const struct backend_object *object);
    void (*done)(void *argument, const struct error *err);
    void *argument;
};

static void finish(struct asking *asking, const struct error *err) {
    struct asking copy = *asking;
    free(asking);
    copy.done(copy.argument, err);
}

static void fail(struct asking *asking) {
    struct error err;
    error_set(&err, ERROR_INTERNAL, "out of memory");
    finish(asking, &err);
}

static struct asking *asking_new(struct backend *backend, void (*done)(void *argument, const struct error *err),
                                 void *argument) {
    struct asking *asking = calloc(1, sizeof *asking);
    struct error err;
    if (asking == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        done(argument, &err);
        return NULL;
    }
    *asking = (struct asking){.backend = backend, .done = done, .argument = argument};
    return asking;
}

/* --- listing ------------------------------------------------------------------------------------------------------ */

/* What has no instance's id was made by another program of the same conventions, or belongs to no instance. */
static void tell(const struct asking *asking, struct json_object *metadata) {
    const struct kind *kind = &kinds[asking->kind];
    struct kubernetes_identity identity;
    char handle[UID_MAX_BYTES + 256];
    const char *name = json_get_string(metadata, "name");
    const char *uid = json_get_string(metadata, "uid");
    kubernetes_identity_read(metadata, &identity);
    bool is_shared = kind->holds_files && name != NULL && strcmp(name, KUBERNETES_SHARED_CLAIM) == 0;
    if (name == NULL || uid == NULL || is_shared || (!kind->holds_files && identity.instance_id == NULL) ||
        (kind->holds_files && identity.user_id == NULL)) {
        return;
    }
    snprintf(handle, sizeof handle, "%s/%s", uid, name);
    const struct backend_object object = {.kind = kind->name,
                                          .name = name,
                                          .handle = handle,
                                          .instance_id = identity.instance_id,
                                          .holds_files = kind->holds_files};
    asking->each(asking->argument, &object);
}

static void list_next(struct asking *asking);

static void on_list(void *argument, const struct kubernetes_answer *answer) {
    struct asking *asking = argument;
    struct json_object *items = json_get_array(answer->json, "items");
    struct error err;
    char what[64];
    if (answer->status != 200 || items == NULL) {
        snprintf(what, sizeof what, "list %s", kinds[asking->kind].plural);
        kubernetes_answer_error(answer, &err, what);
        finish(asking, &err);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        if (json_object_is_type(item, json_type_object)) {
            tell(asking, json_get_object(item, "metadata"));
        }
    }
    asking->kind++;
    list_next(asking);
}

/* NULL: that of Kubernetes' own objects. */
static const char *api_of(const struct asking *asking) {
    return strcmp(kinds[asking->kind].plural, KUBERNETES_TERMINALS) == 0 ? asking->backend->terminals_api : NULL;
}

static void list_next(struct asking *asking) {
    while (asking->kind < KINDS && !kinds[asking->kind].is_ours[asking->backend->has_operator]) {
        asking->kind++;
    }
    if (asking->kind == KINDS) {
        finish(asking, NULL);
        return;
    }
    const struct kubernetes_request request = {.method = "GET",
                                               .api = api_of(asking),
                                               .kind = kinds[asking->kind].plural,
                                               .query = LIST_QUERY,
                                               .timeout_ms = LIST_TIMEOUT_MS};
    if (kubernetes_call_start(asking->backend->client, &request, on_list, asking) == NULL) {
        fail(asking);
    }
}

void kubernetes_objects_list(struct backend *backend, void (*each)(void *argument, const struct backend_object *object),
                             void (*done)(void *argument, const struct error *err), void *argument) {
    struct asking *asking = asking_new(backend, done, argument);
    if (asking != NULL) {
        asking->each = each;
        list_next(asking);
    }
}

/* --- removing ----------------------------------------------------------------------------------------------------- */

static void on_removed(void *argument, const struct kubernetes_answer *answer) {
    struct asking *asking = argument;
    struct error err;
    /* 409: there is another one of this name by now, which is not meant */
    bool is_gone = answer->status == 200 || answer->status == 202 || answer->status == 404 || answer->status == 409;
    if (!is_gone) {
        kubernetes_answer_error(answer, &err, "remove it");
    }
    finish(asking, is_gone ? NULL : &err);
}

/* The handle is `<uid>/<name>`, so that only this very object goes. */
void kubernetes_objects_remove(struct backend *backend, const char *kind, const char *handle,
                               void (*done)(void *argument, const struct error *err), void *argument) {
    struct asking *asking = asking_new(backend, done, argument);
    const char *slash = strchr(handle, '/');
    if (asking == NULL) {
        return;
    }
    while (asking->kind < KINDS && strcmp(kinds[asking->kind].name, kind) != 0) {
        asking->kind++;
    }
    cleanup_free char *uid = slash == NULL ? NULL : strndup(handle, (size_t)(slash - handle));
    cleanup_json struct json_object *options = uid == NULL ? NULL : kubernetes_delete_options(uid, -1);
    if (asking->kind == KINDS || options == NULL) {
        fail(asking);
        return;
    }
    const struct kubernetes_request request = {.method = "DELETE",
                                               .api = api_of(asking),
                                               .kind = kinds[asking->kind].plural,
                                               .name = slash + 1,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (kubernetes_call_start(backend->client, &request, on_removed, asking) == NULL) {
        fail(asking);
    }
}
