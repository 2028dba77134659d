#include "provisioner/backends/kubernetes_pod.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

/* What a container waits for that does not come by waiting (pkg/kubelet/images, pkg/kubelet/kuberuntime). */
static const char *const stuck_reasons[] = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ErrImageInspect",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
    "PreCreateHookError",
    "PostStartHookError",
    "CrashLoopBackOff",
};

/* The kubelet's view of secrets is a moment behind the API server's: that comes by waiting. */
static bool is_transient(const char *message) {
    return strstr(message, "failed to sync") != NULL;
}

static bool is_stuck(const char *reason, const char *message) {
    for (size_t i = 0; i < sizeof stuck_reasons / sizeof stuck_reasons[0]; i++) {
        if (strcmp(stuck_reasons[i], reason) == 0) {
            return !is_transient(message);
        }
    }
    return false;
}

static const char *text_or(struct json_object *object, const char *name, const char *fallback) {
    const char *text = json_get_string(object, name);
    return text == NULL ? fallback : text;
}

/* "reason: message", with one of them or none. */
static void say(struct kubernetes_pod *pod, const char *reason, const char *message) {
    size_t length = strcspn(message, "\n");
    snprintf(pod->reason, sizeof pod->reason, "%s%s%.*s", reason, reason[0] != '\0' && length > 0 ? ": " : "",
             (int)length, message);
}

/* --- conditions and containers ------------------------------------------------------------------------------------ */

static struct json_object *find_named(struct json_object *list, const char *member, const char *name) {
    for (size_t i = 0; list != NULL && i < json_object_array_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        const char *text = json_object_is_type(entry, json_type_object) ? json_get_string(entry, member) : NULL;
        if (text != NULL && strcmp(text, name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static bool condition_is(struct json_object *condition, const char *status) {
    return condition != NULL && strcmp(text_or(condition, "status", ""), status) == 0;
}

/* Our container: the one of our name; in a pod that others made, the first. */
static struct json_object *our_container(struct json_object *spec) {
    struct json_object *containers = json_get_array(spec, "containers");
    struct json_object *ours = find_named(containers, "name", KUBERNETES_CONTAINER);
    if (ours == NULL && containers != NULL && json_object_array_length(containers) > 0) {
        ours = json_object_array_get_idx(containers, 0);
    }
    return json_object_is_type(ours, json_type_object) ? ours : NULL;
}

static void say_ended(struct kubernetes_pod *pod, struct json_object *terminated) {
    char reason[160];
    snprintf(reason, sizeof reason, "its container ended with status %" PRId64 " (%.100s)",
             json_get_int(terminated, "exitCode", -1), text_or(terminated, "reason", "no reason given"));
    say(pod, reason, text_or(terminated, "message", ""));
}

/* Whether one of these containers cannot start. */
static bool find_stuck(struct kubernetes_pod *pod, struct json_object *statuses) {
    for (size_t i = 0; statuses != NULL && i < json_object_array_length(statuses); i++) {
        struct json_object *status = json_object_array_get_idx(statuses, i);
        struct json_object *waiting = json_get_object(json_get_object(status, "state"), "waiting");
        const char *reason = text_or(waiting, "reason", "");
        const char *message = text_or(waiting, "message", "");
        if (is_stuck(reason, message)) {
            say(pod, reason, message);
            return true;
        }
        if (pod->reason[0] == '\0') {
            say(pod, reason, message);
        }
    }
    return false;
}

static void judge_ended(struct kubernetes_pod *pod, struct json_object *status, struct json_object *terminated) {
    const char *reason = text_or(status, "reason", "");
    pod->state = KUBERNETES_POD_ENDED;
    if (reason[0] == '\0' && terminated != NULL) {
        say_ended(pod, terminated);
    } else {
        say(pod, reason, text_or(status, "message", "")); /* Evicted, Preempting, DeadlineExceeded, … */
    }
}

/* An address in a status is what the network plugin says: only a real one becomes a route. */
static void take_address(struct kubernetes_pod *pod, struct json_object *status) {
    struct in6_addr binary;
    const char *address = text_or(status, "podIP", "");
    if (strlen(address) < sizeof pod->address &&
        (inet_pton(AF_INET, address, &binary) == 1 || inet_pton(AF_INET6, address, &binary) == 1)) {
        snprintf(pod->address, sizeof pod->address, "%s", address);
    }
}

static void judge(struct kubernetes_pod *pod, struct json_object *json) {
    struct json_object *metadata = json_get_object(json, "metadata");
    struct json_object *status = json_get_object(json, "status");
    struct json_object *conditions = json_get_array(status, "conditions");
    struct json_object *statuses = json_get_array(status, "containerStatuses");
    const char *name = text_or(our_container(json_get_object(json, "spec")), "name", "");
    struct json_object *ours = json_get_object(find_named(statuses, "name", name), "state");
    struct json_object *terminated = json_get_object(ours, "terminated");
    struct json_object *disruption = find_named(conditions, "type", "DisruptionTarget");
    struct json_object *scheduled = find_named(conditions, "type", "PodScheduled");
    const char *phase = text_or(status, "phase", "");
    take_address(pod, status);
    if (strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0) {
        judge_ended(pod, status, terminated);
    } else if (json_get_string(metadata, "deletionTimestamp") != NULL) {
        pod->state = KUBERNETES_POD_TERMINATING;
        if (condition_is(disruption, "True")) {
            say(pod, text_or(disruption, "reason", ""), text_or(disruption, "message", ""));
        }
    } else if (terminated != NULL) {
        judge_ended(pod, NULL, terminated);
    } else if (json_get_object(ours, "running") != NULL && pod->address[0] != '\0') {
        pod->state = KUBERNETES_POD_RUNNING; /* whatever becomes of a sidecar */
    } else if (find_stuck(pod, json_get_array(status, "initContainerStatuses")) || find_stuck(pod, statuses)) {
        pod->state = KUBERNETES_POD_STUCK;
    } else if (condition_is(scheduled, "False") && strcmp(text_or(scheduled, "reason", ""), "Unschedulable") == 0) {
        pod->state = KUBERNETES_POD_UNSCHEDULABLE;
        say(pod, "Unschedulable", text_or(scheduled, "message", ""));
    }
}

/* --- whose it is -------------------------------------------------------------------------------------------------- */

static bool copy(char **out, const char *text) {
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL;
}

static bool take_key(struct kubernetes_pod *pod, struct json_object *json) {
    struct json_object *container = our_container(json_get_object(json, "spec"));
    struct json_object *variable = find_named(json_get_array(container, "env"), "name", KUBERNETES_KEY_NAME);
    struct json_object *reference = json_get_object(json_get_object(variable, "valueFrom"), "secretKeyRef");
    return copy(&pod->key, json_get_string(variable, "value")) &&
           copy(&pod->secret_name, json_get_string(reference, "name")) &&
           copy(&pod->secret_key, json_get_string(reference, "key"));
}

static bool take_identity(struct kubernetes_pod *pod, struct json_object *metadata) {
    struct kubernetes_identity identity;
    kubernetes_identity_read(metadata, &identity);
    pod->is_managed = identity.is_managed;
    return copy(&pod->user_id, identity.user_id) && copy(&pod->policy_id, identity.policy_id) &&
           copy(&pod->context_id, identity.context_id) && copy(&pod->instance_id, identity.instance_id);
}

struct kubernetes_pod *kubernetes_pod_read(struct json_object *json) {
    struct json_object *metadata = json_get_object(json, "metadata");
    struct kubernetes_pod *pod = calloc(1, sizeof *pod);
    if (pod == NULL) {
        return NULL;
    }
    if (!kubernetes_item_read(&pod->item, metadata) || !take_identity(pod, metadata) || !take_key(pod, json)) {
        kubernetes_pod_free(pod);
        return NULL;
    }
    pod->has_controller = kubernetes_owner_read(metadata, pod->owner_uid);
    pod->is_operators = json_get_string(json_get_object(metadata, "labels"), KUBERNETES_LABEL_OPERATOR) != NULL;
    snprintf(pod->secret_uid, sizeof pod->secret_uid, "%s",
             text_or(json_get_object(metadata, "annotations"), KUBERNETES_ANNOTATION_SECRET_UID, ""));
    pod->is_going = json_get_string(metadata, "deletionTimestamp") != NULL;
    pod->grace_s = json_get_int(metadata, "deletionGracePeriodSeconds", 0);
    pod->is_purge =
        strcmp(text_or(json_get_object(metadata, "labels"), KUBERNETES_LABEL_ROLE, ""), KUBERNETES_ROLE_PURGE) == 0;
    pod->has_succeeded = strcmp(text_or(json_get_object(json, "status"), "phase", ""), "Succeeded") == 0;
    judge(pod, json);
    return pod;
}

void kubernetes_pod_free(struct kubernetes_pod *pod) {
    if (pod == NULL) {
        return;
    }
    free(pod->user_id);
    free(pod->policy_id);
    free(pod->context_id);
    free(pod->instance_id);
    secret_free(pod->key);
    free(pod->secret_name);
    free(pod->secret_key);
    free(pod);
}

bool kubernetes_pod_matches(const struct kubernetes_pod *pod, const struct instance_spec *spec) {
    const struct kubernetes_identity identity = {
        .is_managed = pod->is_managed,
        .user_id = pod->user_id,
        .policy_id = pod->policy_id,
        .context_id = pod->context_id,
    };
    return kubernetes_identity_matches(&identity, spec);
}
