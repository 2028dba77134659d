#include "provisioner/backends/kubernetes_leftovers.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_roundup.h"

/* labelSelector=app.kubernetes.io/managed-by=terminals,terminals.instance-id */
#define LIST_QUERY      "?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dterminals%2Cterminals.instance-id"
#define LIST_TIMEOUT_MS 60000

static const char *const kinds[] = {"services", "secrets"};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* One that is being removed. */
struct leftover {
    struct kubernetes_leftovers *all;
    struct kubernetes_call *call;
    struct leftover *prev, *next;
};

struct kubernetes_leftovers {
    struct backend *backend;
    size_t kind;
    struct kubernetes_call *list;
    struct leftover *leftovers;
};

static void list_next(struct kubernetes_leftovers *all);

static void leftover_free(struct leftover *leftover) {
    DL_DELETE(leftover->all->leftovers, leftover);
    kubernetes_call_cancel(leftover->call);
    free(leftover);
}

static void on_removed(void *argument, const struct kubernetes_answer *answer) {
    struct leftover *leftover = argument;
    struct error err;
    leftover->call = NULL;
    if (answer->status != 200 && answer->status != 404 && answer->status != 409) {
        kubernetes_answer_error(answer, &err, "remove what a predecessor left");
        log_warning(NULL, "%s", err.message);
        if (kubernetes_answer_is_for_later(answer)) {
            kubernetes_roundup_again(leftover->all->backend->roundup);
        }
    }
    leftover_free(leftover);
}

static void remove_one(struct kubernetes_leftovers *all, const char *name, const char *uid) {
    if (!backend_may_end_strangers(&all->backend->events)) {
        return;
    }
    cleanup_json struct json_object *options = kubernetes_delete_options(uid, -1);
    struct leftover *leftover = options == NULL ? NULL : calloc(1, sizeof *leftover);
    if (leftover == NULL) {
        return;
    }
    log_info(NULL, "removing %.*s `%s`, which belongs to no instance", (int)strlen(kinds[all->kind]) - 1,
             kinds[all->kind], name);
    const struct kubernetes_request request = {.method = "DELETE",
                                               .kind = kinds[all->kind],
                                               .name = name,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    leftover->all = all;
    DL_APPEND(all->leftovers, leftover);
    leftover->call = kubernetes_call_start(all->backend->client, &request, on_removed, leftover);
    if (leftover->call == NULL) {
        leftover_free(leftover);
    }
}

static void on_made(void *argument, const struct kubernetes_answer *answer) {
    struct leftover *leftover = argument;
    struct error err;
    leftover->call = NULL;
    if (answer->status != 201 && answer->status != 409) {
        kubernetes_answer_error(answer, &err, "create a service that was missing");
        log_warning(NULL, "%s", err.message);
    }
    leftover_free(leftover);
}

/* Its maker was killed between pod and service. */
static void make_service(struct kubernetes_leftovers *all, struct kubernetes_instance *instance) {
    const struct kubernetes_plan plan = kubernetes_instance_plan(instance);
    cleanup_json struct json_object *body = kubernetes_service_manifest(&plan, NULL);
    struct leftover *leftover = body == NULL ? NULL : calloc(1, sizeof *leftover);
    const struct kubernetes_request request = {.method = "POST",
                                               .kind = "services",
                                               .query = "?fieldManager=terminals&fieldValidation=Strict",
                                               .body = body,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (leftover == NULL) {
        return;
    }
    instance->has_service = true;
    leftover->all = all;
    DL_APPEND(all->leftovers, leftover);
    leftover->call = kubernetes_call_start(all->backend->client, &request, on_made, leftover);
    if (leftover->call == NULL) {
        leftover_free(leftover);
    }
}

static void make_missing_services(struct kubernetes_leftovers *all) {
    struct kubernetes_instance *instance = NULL;
    for (instance = all->backend->instances; instance != NULL; instance = instance->hh.next) {
        bool runs = instance->state == KUBERNETES_READY || instance->state == KUBERNETES_PROBING;
        if (instance->is_adoption && runs && instance->uid[0] != '\0' && !instance->has_service) {
            make_service(all, instance);
        }
    }
}

static void judge(struct kubernetes_leftovers *all, struct json_object *metadata) {
    const char *name = json_get_string(metadata, "name");
    const char *uid = json_get_string(metadata, "uid");
    struct kubernetes_identity identity;
    kubernetes_identity_read(metadata, &identity);
    struct kubernetes_instance *holder = name == NULL ? NULL : kubernetes_instance_holder(all->backend, name);
    if (holder != NULL && all->kind == 0) {
        holder->has_service = true;
    }
    if (name == NULL || uid == NULL || identity.instance_id == NULL || holder != NULL ||
        kubernetes_instance_find(all->backend, identity.instance_id) != NULL) {
        return;
    }
    const struct kubernetes_pod *pod = kubernetes_pods_find(all->backend->pods, name);
    if (pod == NULL) {
        remove_one(all, name, uid);
    } else if (pod->is_going) {
        kubernetes_roundup_again(all->backend->roundup); /* and nobody waits for its end */
    }
}

static void on_list(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_leftovers *all = argument;
    struct json_object *items = json_get_array(answer->json, "items");
    struct error err;
    all->list = NULL;
    if (answer->status != 200 || items == NULL) {
        kubernetes_answer_error(answer, &err, "look for what predecessors left");
        log_warning(NULL, "%s", err.message);
        if (kubernetes_answer_is_for_later(answer)) {
            kubernetes_roundup_again(all->backend->roundup);
        }
    }
    for (size_t i = 0; items != NULL && i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        if (json_object_is_type(item, json_type_object)) {
            judge(all, json_get_object(item, "metadata"));
        }
    }
    if (items != NULL && all->kind == 0) {
        make_missing_services(all);
    }
    all->kind++;
    list_next(all);
}

static void list_next(struct kubernetes_leftovers *all) {
    if (all->kind < KINDS) {
        const struct kubernetes_request request = {
            .method = "GET", .kind = kinds[all->kind], .query = LIST_QUERY, .timeout_ms = LIST_TIMEOUT_MS};
        all->list = kubernetes_call_start(all->backend->client, &request, on_list, all);
    }
}

struct kubernetes_leftovers *kubernetes_leftovers_open(struct backend *backend) {
    struct kubernetes_leftovers *all = calloc(1, sizeof *all);
    if (all != NULL) {
        all->backend = backend;
        list_next(all);
    }
    return all;
}

bool kubernetes_leftovers_are_looked_at(const struct kubernetes_leftovers *leftovers) {
    return leftovers != NULL && (leftovers->list != NULL || leftovers->leftovers != NULL);
}

void kubernetes_leftovers_close(struct kubernetes_leftovers *leftovers) {
    if (leftovers == NULL) {
        return;
    }
    kubernetes_call_cancel(leftovers->list);
    while (leftovers->leftovers != NULL) {
        leftover_free(leftovers->leftovers);
    }
    free(leftovers);
}
