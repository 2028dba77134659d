#include "provisioner/backends/kubernetes_unanswered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_roundup.h"
#include "provisioner/backends/kubernetes_terminal.h"

struct kubernetes_unanswered {
    struct backend *backend;
    char name[KUBERNETES_NAME_SIZE];
    char uid[KUBERNETES_UID_SIZE];
    struct kubernetes_call *call; /* NULL: it waits for the roundup */
    struct kubernetes_unanswered *prev, *next;
};

static void drop(struct kubernetes_unanswered *one) {
    DL_DELETE(one->backend->unanswered, one);
    kubernetes_call_cancel(one->call);
    free(one);
}

void kubernetes_unanswered_add(struct backend *backend, const char *name, const char *uid) {
    struct kubernetes_unanswered *one = calloc(1, sizeof *one);
    if (one == NULL) {
        log_error(NULL, "Terminal `%s` may be left: out of memory", name);
        return;
    }
    one->backend = backend;
    snprintf(one->name, sizeof one->name, "%s", name);
    snprintf(one->uid, sizeof one->uid, "%s", uid);
    DL_APPEND(backend->unanswered, one);
}

static void on_removed(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_unanswered *one = argument;
    struct error err;
    one->call = NULL;
    if (kubernetes_answer_is_for_later(answer)) {
        kubernetes_roundup_again(one->backend->roundup);
        return;
    }
    if (answer->status >= 300 && answer->status != 404 && answer->status != 409) { /* 409: another has the name */
        kubernetes_answer_error(answer, &err, "delete a Terminal that nobody uses");
        log_warning(NULL, "Terminal `%s`: %s", one->name, err.message);
    }
    drop(one);
}

static void ask(struct kubernetes_unanswered *one) {
    cleanup_json struct json_object *options = kubernetes_delete_options(one->uid, -1);
    const struct kubernetes_request request = {.method = "DELETE",
                                               .api = one->backend->terminals_api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .name = one->name,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (options != NULL) {
        one->call = kubernetes_call_start(one->backend->client, &request, on_removed, one);
    }
    if (one->call == NULL) {
        kubernetes_roundup_again(one->backend->roundup);
    }
}

void kubernetes_unanswered_ask(struct backend *backend) {
    struct kubernetes_unanswered *one = NULL;
    struct kubernetes_unanswered *next = NULL;
    DL_FOREACH_SAFE(backend->unanswered, one, next) {
        const struct kubernetes_instance *holder = kubernetes_instance_holder(backend, one->name);
        if (holder != NULL && strcmp(holder->terminal_uid, one->uid) == 0) {
            drop(one);
        } else if (holder != NULL) {
            kubernetes_roundup_again(backend->roundup); /* it may take this one yet */
        } else if (one->call == NULL && backend_may_end_strangers(&backend->events)) {
            ask(one);
        } else if (one->call == NULL) {
            kubernetes_roundup_again(backend->roundup);
        }
    }
}

void kubernetes_unanswered_free_all(struct backend *backend) {
    while (backend->unanswered != NULL) {
        drop(backend->unanswered);
    }
}
