#include "provisioner/backends/kubernetes_purge_pod.h"

#include <stdio.h>

#include "common/names.h"
#include "provisioner/backends/kubernetes_container.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_security.h"

#define VOLUME "files"
#define FOLDER "/files"

/* What lies in there was put there by its user, and rm follows no links. `$1` is the folder, which only the kubelet
 * makes, and `$2` what is not the user's: a volume's root cannot be removed, and `lost+found` is its file system's. */
#define EMPTY                                                                                                          \
    "cd \"$1\" || exit 1; status=0; for file in ..?* .[!.]* *; do "                                                    \
    "[ \"$file\" = \"$2\" ] || rm -rf -- \"$file\" || status=1; done; "
static const char empty_volume[] = EMPTY "exit $status";
/* The folders above a sub-path are the kubelet's (pkg/volume/util/subpath: root's, less its umask), and it is for them
 * to say whether an empty one may be taken out. */
static const char remove_folder[] = "[ -d \"$1\" ] || exit 0; " EMPTY "cd /; rmdir -- \"$1\" 2>/dev/null; exit $status";

static bool is_own(const struct kubernetes_plan *plan) {
    return kubernetes_storage_mode(plan->settings, plan->spec->policy) == STORAGE_PER_USER;
}

static bool fill_command(const struct kubernetes_plan *plan, struct json_object *container) {
    const struct instance_spec *who = plan->spec;
    char folder[NAME_FOLDER_SIZE];
    char path[NAME_FOLDER_SIZE + sizeof FOLDER + 1] = FOLDER;
    if (!is_own(plan)) {
        if (!name_home_folder(who->user_id, who->policy_id, who->context_id, folder)) {
            return false;
        }
        snprintf(path, sizeof path, FOLDER "/%s", folder);
    }
    const char *const words[] = {"/bin/sh", "-c", is_own(plan) ? empty_volume : remove_folder,
                                 "purge",   path, is_own(plan) ? "lost+found" : ""};
    struct json_object *command = kubernetes_json_array(container, "command");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (command == NULL || !kubernetes_json_append(command, json_object_new_string(words[i]))) {
            return false;
        }
    }
    return true;
}

static bool fill_volume(const struct kubernetes_plan *plan, struct json_object *spec, struct json_object *container) {
    struct json_object *volumes = kubernetes_json_array(spec, "volumes");
    struct json_object *mounts = kubernetes_json_array(container, "volumeMounts");
    struct json_object *volume = json_object_new_object();
    struct json_object *mount = json_object_new_object();
    if (volumes == NULL || mounts == NULL || !kubernetes_json_append(volumes, volume)) {
        json_object_put(mount);
        return false;
    }
    struct json_object *claim = kubernetes_json_object(volume, "persistentVolumeClaim");
    return kubernetes_json_append(mounts, mount) && claim != NULL && json_add_string(volume, "name", VOLUME) &&
           json_add_string(claim, "claimName", kubernetes_claim_name(plan)) && json_add_string(mount, "name", VOLUME) &&
           json_add_string(mount, "mountPath", FOLDER);
}

/* Who may be the only pod of those that have to be together carries their label: or the scheduler finds it no place. */
static bool add_storage_label(const struct kubernetes_plan *plan, struct json_object *labels) {
    return kubernetes_storage_mode(plan->settings, plan->spec->policy) != STORAGE_SHARED_RWO ||
           json_add_string(labels, KUBERNETES_LABEL_STORAGE, KUBERNETES_SHARED_CLAIM);
}

/* It runs where the instance did, on what may be pulled there. */
static bool take_place(const struct kubernetes_plan *plan, struct json_object *spec) {
    static const char *const members[] = {"imagePullSecrets", "nodeSelector",      "tolerations",
                                          "runtimeClassName", "priorityClassName", "schedulerName"};
    const struct policy *policy = plan->spec->policy;
    struct json_object *data = policy == NULL ? NULL : policy->data;
    struct json_object *template = json_get_object(json_get_object(data, "podTemplate"), "spec");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        struct json_object *value = NULL;
        struct json_object *copy = NULL;
        if (json_object_object_get_ex(template, members[i], &value) && value != NULL &&
            (json_object_deep_copy(value, &copy, NULL) != 0 || !json_add(spec, members[i], copy))) {
            return false;
        }
    }
    return kubernetes_placement_add(plan, spec);
}

static bool fill_metadata(const struct kubernetes_plan *plan, struct json_object *pod, const char *name) {
    struct json_object *metadata = kubernetes_json_object(pod, "metadata");
    struct json_object *labels = metadata == NULL ? NULL : kubernetes_json_object(metadata, "labels");
    return labels != NULL && json_add_string(pod, "apiVersion", "v1") && json_add_string(pod, "kind", "Pod") &&
           json_add_string(metadata, "name", name) &&
           json_add_string(labels, KUBERNETES_LABEL_MANAGED_BY, KUBERNETES_MANAGED_BY) &&
           json_add_string(labels, KUBERNETES_LABEL_ROLE, KUBERNETES_ROLE_PURGE) && add_storage_label(plan, labels);
}

static bool fill(const struct kubernetes_plan *plan, struct json_object *pod, const char *name, struct error *err) {
    const struct settings *settings = plan->settings;
    const char *image = settings->kubernetes_image != NULL ? settings->kubernetes_image : settings->image;
    struct json_object *spec = kubernetes_json_object(pod, "spec");
    struct json_object *containers = spec == NULL ? NULL : kubernetes_json_array(spec, "containers");
    struct json_object *container = json_object_new_object();
    bool ok = containers != NULL && kubernetes_json_append(containers, container) && fill_metadata(plan, pod, name) &&
              json_add_string(container, "name", "purge") && json_add_string(container, "image", image) &&
              json_add_string(container, "terminationMessagePolicy", "FallbackToLogsOnError") &&
              fill_command(plan, container) && fill_volume(plan, spec, container) &&
              json_add_string(spec, "restartPolicy", "Never") &&
              json_add_int(spec, "activeDeadlineSeconds", KUBERNETES_PURGE_DEADLINE_S) &&
              json_add_bool(spec, "automountServiceAccountToken", false) &&
              json_add_bool(spec, "enableServiceLinks", false) && take_place(plan, spec) &&
              kubernetes_resources_add(plan, container); /* a quota of them wants them of every pod */
    if (!ok) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return kubernetes_security_apply(plan, spec, container, err);
}

struct json_object *kubernetes_purge_manifest(const struct kubernetes_plan *plan, const char *name, struct error *err) {
    struct json_object *pod = json_object_new_object();
    if (pod == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    } else if (!fill(plan, pod, name, err)) {
        json_object_put(pod);
        pod = NULL;
    }
    return pod;
}
