// LINK: operator
/* A `Terminal` resource as the operator reads it: anybody who may write one has written it. It is refused with a
 * reason, or becomes objects that hold what the operator's settings promise, whatever its podTemplate says. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_pod.h"
#include "provisioner/operator/blueprint.h"
#include "provisioner/operator/status.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct settings settings;
static struct controller controller;

static void require(bool truth) {
    if (!truth) {
        abort();
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const char *const environment[] = {"TERMINALS_IMAGE=fallback:1",
                                              "TERMINALS_ALLOWED_IMAGES=good/*,fallback:*", "TERMINALS_MAX_MEMORY=2Gi",
                                              "TERMINALS_KUBERNETES_LABELS=team=x", NULL};
    struct error err;
    (void)argc;
    (void)argv;
    require(settings_parse(&settings, environment, NULL, NULL, &err));
    controller.settings = &settings;
    controller.api_version = (char *)"openwebui.com/v1alpha1";
    require(kubernetes_settings_read(&settings, &controller.parsed, &err));
    return 0;
}

static void check_images(struct json_object *spec, const char *list) {
    struct json_object *containers = json_get_array(spec, list);
    for (size_t i = 0; containers != NULL && i < json_object_array_length(containers); i++) {
        const char *image = json_get_string(json_object_array_get_idx(containers, i), "image");
        require(image == NULL || policy_image_is_allowed(image, settings.allowed_images));
    }
}

/* The key is the secret's, and said once. */
static void check_key(struct json_object *container) {
    struct json_object *env = json_get_array(container, "env");
    size_t count = 0;
    for (size_t i = 0; env != NULL && i < json_object_array_length(env); i++) {
        struct json_object *variable = json_object_array_get_idx(env, i);
        const char *name = json_get_string(variable, "name");
        if (name != NULL && strcmp(name, "OPEN_TERMINAL_API_KEY") == 0) {
            count++;
            require(json_get_object(variable, "valueFrom") != NULL);
        }
    }
    require(count == 1);
}

static void check_pod(const struct blueprint *blueprint) {
    struct error err = {0};
    struct json_object *pod = blueprint_pod(blueprint, "uid-of-secret", &err);
    if (pod == NULL) {
        require(err.code == ERROR_INVALID && err.message[0] != '\0');
        return;
    }
    struct json_object *metadata = json_get_object(pod, "metadata");
    struct json_object *spec = json_get_object(pod, "spec");
    struct json_object *containers = json_get_array(spec, "containers");
    require(strcmp(json_get_string(metadata, "name"), blueprint->plan.name) == 0);
    require(json_object_array_length(json_get_array(metadata, "ownerReferences")) == 1);
    require(!json_get_bool(spec, "automountServiceAccountToken", true));
    check_images(spec, "containers");
    check_images(spec, "initContainers");
    struct json_object *container = kubernetes_json_find(containers, "name", KUBERNETES_CONTAINER);
    require(container != NULL && json_get_string(container, "image") != NULL);
    check_key(container);
    if (json_get_bool(blueprint->policy.data, "restricted", false)) {
        require(!json_get_bool(spec, "hostPID", false) && !json_get_bool(spec, "hostNetwork", false));
        require(!json_get_bool(json_get_object(container, "securityContext"), "privileged", false));
    }
    json_object_put(pod);
}

static void check_objects(const struct blueprint *blueprint) {
    struct error err = {0};
    struct json_object *objects[] = {blueprint_claim(blueprint, &err), blueprint_secret(blueprint, &err),
                                     blueprint_service(blueprint, &err)};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        require(objects[i] != NULL || (err.code == ERROR_INVALID && err.message[0] != '\0'));
        json_object_put(objects[i]);
    }
    check_pod(blueprint);
}

static void check_status(const struct kubernetes_terminal *terminal) {
    const struct status status = {.phase = KUBERNETES_PHASE_ERROR,
                                  .reason = "Failed",
                                  .message = "why",
                                  .namespace_name = "terminals",
                                  .has_pod = true};
    bool is_needed = false;
    struct json_object *patch = status_patch(&status, terminal, &is_needed);
    require((patch != NULL) == is_needed);
    json_object_put(patch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct kubernetes_watch_kind kind = kubernetes_terminals_kind("apis/openwebui.com/v1alpha1");
    struct json_object *json = json_parse_object((const char *)data, size, NULL);
    struct kubernetes_item *item = json == NULL ? NULL : kind.read(json);
    json_object_put(json);
    if (item == NULL) {
        return 0;
    }
    struct blueprint blueprint;
    struct error err = {0};
    if (blueprint_read(&blueprint, &controller, kubernetes_terminal_of(item), &err)) {
        require(blueprint.idle_ms >= 0);
        check_objects(&blueprint);
    } else {
        require(err.code == ERROR_INVALID && err.message[0] != '\0');
    }
    blueprint_free(&blueprint);
    check_status(kubernetes_terminal_of(item));
    kind.free(item);
    return 0;
}
