#include "provisioner/leader.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/identities.h"
#include "provisioner/ipc_server.h"
#include "provisioner/operations.h"
#include "provisioner/routes.h"
#include "provisioner/siem_queue.h"
#include "provisioner/survey.h"

/* A call of another node that is being served. A node that is in doubt asks again: that is the same call. */
struct remote_call {
    struct provisioner *provisioner; /* NULL: it leads no more */
    char node[33];
    int64_t id;
    bool is_quiet;
    struct json_object *answer; /* that could not be sent yet */
    struct remote_call *prev, *next;
};

static void forget(struct remote_call *remote) {
    if (remote->provisioner != NULL) {
        DL_DELETE(remote->provisioner->remote_calls, remote);
    }
    json_object_put(remote->answer);
    free(remote);
}

static bool send_answer(const struct remote_call *remote, struct json_object *answer) {
    struct error err = {.message = "out of memory"};
    cleanup_json struct json_object *message = json_object_new_object();
    bool ok = message != NULL && json_add_int(message, NODE_ANSWER, remote->id) &&
              json_add(message, "body", json_object_get(answer)) &&
              node_send(remote->provisioner->node, remote->node, message, &err);
    if (!ok) {
        log_warning(NULL, "answer another node: %s (tried again)", err.message);
    }
    return ok;
}

/* NULL is an answer that there was no memory for: who asks again is served again. */
static void on_answered(void *argument, struct json_object *answer) {
    struct remote_call *remote = argument;
    if (remote->provisioner == NULL || remote->is_quiet || answer == NULL || send_answer(remote, answer)) {
        forget(remote);
    } else {
        remote->answer = json_object_get(answer);
    }
}

static void send_late_answers(struct provisioner *provisioner) {
    struct remote_call *remote;
    struct remote_call *next;
    DL_FOREACH_SAFE(provisioner->remote_calls, remote, next) {
        if (remote->answer != NULL && !send_answer(remote, remote->answer)) {
            return;
        }
        if (remote->answer != NULL) {
            forget(remote);
        }
    }
}

static bool is_being_served(const struct provisioner *provisioner, const char *node, int64_t id) {
    const struct remote_call *remote;
    DL_FOREACH(provisioner->remote_calls, remote) {
        if (remote->id == id && strcmp(remote->node, node) == 0) {
            return true;
        }
    }
    return false;
}

static void serve_call(struct provisioner *provisioner, struct json_object *message) {
    const char *node = json_get_string(message, "node");
    struct json_object *request = json_get_object(message, "request");
    int64_t id = json_get_int(message, NODE_CALL, -1);
    if (node == NULL || strlen(node) >= sizeof((struct remote_call *)NULL)->node || request == NULL ||
        is_being_served(provisioner, node, id)) {
        return;
    }
    struct remote_call *remote = calloc(1, sizeof *remote);
    struct ipc_call *call = remote == NULL ? NULL : ipc_call_new_remote(on_answered, remote);
    if (call == NULL) {
        log_warning(NULL, "serve another node: out of memory");
        free(remote);
        return;
    }
    *remote =
        (struct remote_call){.provisioner = provisioner, .id = id, .is_quiet = json_get_bool(message, "quiet", false)};
    strcpy(remote->node, node); /* NOLINT: its length was checked above */
    DL_APPEND(provisioner->remote_calls, remote);
    operations_handle(provisioner, call, request);
}

static void on_message(void *argument, struct json_object *message) {
    struct provisioner *provisioner = argument;
    if (json_get_int(message, NODE_CALL, -1) >= 0) {
        serve_call(provisioner, message);
    } else if (json_get_string(message, NODE_JOINED) != NULL) {
        routes_announce_unwritten(provisioner);
    } else {
        survey_take(provisioner, message);
    }
}

static void on_announced(void *argument, char kind, const char *text) {
    struct provisioner *provisioner = argument;
    if (kind == ANNOUNCE_IDENTITY) {
        identities_learn(provisioner, text);
    } else if (kind == ANNOUNCE_IDENTITIES) {
        identities_reread(provisioner);
    } else if (kind == ANNOUNCE_AUDIT) {
        siem_queue_wake(provisioner->siem);
    }
}

static void on_reread(void *argument) {
    identities_reread(argument);
}

static void on_beat(void *argument) {
    identities_reread_if_stale(argument);
    send_late_answers(argument);
}

/* Leaves the loop: what follows is not for the middle of a callback. */
static void on_deposed(void *argument, const char *why) {
    struct provisioner *provisioner = argument;
    (void)why;
    event_base_loopbreak(provisioner->base);
}

void leader_begin(struct provisioner *provisioner) {
    const struct node_role role = {
        .argument = provisioner,
        .deposed = on_deposed,
        .reread = on_reread,
        .announced = on_announced,
        .message = on_message,
        .beat = on_beat,
    };
    if (node_succeeds_another(provisioner->node)) {
        provisioner->not_idle_before_ms = clock_monotonic_ms();
    }
    node_set_role(provisioner->node, &role);
    node_announce(provisioner->node, ANNOUNCE_ELECTION, "");
}

void leader_end(struct provisioner *provisioner) {
    node_set_role(provisioner->node, NULL);
    while (provisioner->remote_calls != NULL) {
        struct remote_call *remote = provisioner->remote_calls;
        DL_DELETE(provisioner->remote_calls, remote);
        remote->provisioner = NULL;
        if (remote->answer != NULL) {
            forget(remote);
        } /* else its call is answered yet, to nobody */
    }
}
