#include "provisioner/backends/kubernetes_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_terminal.h"
#include "provisioner/backends/object_query.h"

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

/* --- listing, a call for each kind, one after the other ----------------------------------------------------------- */

/* What has no instance's id was made by another program of the same conventions, or belongs to no instance. */
static void tell(const struct object_query *query, struct json_object *metadata) {
    const struct kind *kind = &kinds[query->kind];
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
    query->each(query->argument, &object);
}

static void list_next(struct object_query *query);

static void on_list(void *argument, const struct kubernetes_answer *answer) {
    struct object_query *query = argument;
    struct json_object *items = json_get_array(answer->json, "items");
    struct error err;
    char what[64];
    if (answer->status != 200 || items == NULL) {
        snprintf(what, sizeof what, "list %s", kinds[query->kind].plural);
        kubernetes_answer_error(answer, &err, what);
        object_query_finish(query, &err);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        if (json_object_is_type(item, json_type_object)) {
            tell(query, json_get_object(item, "metadata"));
        }
    }
    query->kind++;
    list_next(query);
}

/* NULL: that of Kubernetes' own objects. */
static const char *api_of(const struct object_query *query) {
    return strcmp(kinds[query->kind].plural, KUBERNETES_TERMINALS) == 0 ? query->backend->terminals_api : NULL;
}

static void list_next(struct object_query *query) {
    while (query->kind < KINDS && !kinds[query->kind].is_ours[query->backend->has_operator]) {
        query->kind++;
    }
    if (query->kind == KINDS) {
        object_query_finish(query, NULL);
        return;
    }
    const struct kubernetes_request request = {.method = "GET",
                                               .api = api_of(query),
                                               .kind = kinds[query->kind].plural,
                                               .query = LIST_QUERY,
                                               .timeout_ms = LIST_TIMEOUT_MS};
    if (kubernetes_call_start(query->backend->client, &request, on_list, query) == NULL) {
        object_query_fail(query);
    }
}

void kubernetes_objects_list(struct backend *backend, void (*each)(void *argument, const struct backend_object *object),
                             void (*done)(void *argument, const struct error *err), void *argument) {
    struct object_query *query = object_query_new(backend, each, NULL, done, argument);
    if (query != NULL) {
        list_next(query);
    }
}

/* --- removing ----------------------------------------------------------------------------------------------------- */

static void on_removed(void *argument, const struct kubernetes_answer *answer) {
    struct object_query *query = argument;
    struct error err;
    /* 409: there is another one of this name by now, which is not meant */
    bool is_gone = answer->status == 200 || answer->status == 202 || answer->status == 404 || answer->status == 409;
    if (!is_gone) {
        kubernetes_answer_error(answer, &err, "remove it");
    }
    object_query_finish(query, is_gone ? NULL : &err);
}

/* The handle is `<uid>/<name>`, so that only this very object goes. */
void kubernetes_objects_remove(struct backend *backend, const char *kind, const char *handle,
                               void (*done)(void *argument, const struct error *err), void *argument) {
    struct object_query *query = object_query_new(backend, NULL, handle, done, argument);
    const char *slash = strchr(handle, '/');
    if (query == NULL) {
        return;
    }
    while (query->kind < KINDS && strcmp(kinds[query->kind].name, kind) != 0) {
        query->kind++;
    }
    cleanup_free char *uid = slash == NULL ? NULL : strndup(handle, (size_t)(slash - handle));
    cleanup_json struct json_object *options = uid == NULL ? NULL : kubernetes_delete_options(uid, -1);
    if (query->kind == KINDS || options == NULL) {
        object_query_fail(query);
        return;
    }
    const struct kubernetes_request request = {.method = "DELETE",
                                               .api = api_of(query),
                                               .kind = kinds[query->kind].plural,
                                               .name = slash + 1,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (kubernetes_call_start(backend->client, &request, on_removed, query) == NULL) {
        object_query_fail(query);
    }
}
