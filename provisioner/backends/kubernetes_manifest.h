/* kubernetes_manifest.h - the objects of an instance, as they are sent to the API server. Pure.
 *
 * A policy's `podTemplate` (a PodTemplateSpec) is the ground on which our own fields are laid: its container
 * `open-terminal` becomes ours, its other containers, volumes, annotations, … come along. Ours always are: the names
 * and labels, the image, the key, the port, the home and its volume, restartPolicy, and that a pod gets no service
 * account token and no variables about other users' services. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_MANIFEST_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_MANIFEST_H

#include "common/error.h"
#include "common/json.h"
#include "common/kubernetes_settings.h"
#include "common/settings.h"
#include "provisioner/backend.h"

#define KUBERNETES_HOME         "/home/user"
#define KUBERNETES_SECRET_KEY   "api-key"
#define KUBERNETES_STOP_GRACE_S 5

struct kubernetes_plan {
    const struct instance_spec *spec;
    const struct settings *settings;
    const struct kubernetes_settings *parsed;
    const char *name;      /* of pod, service, secret, and of the claim where each instance has its own */
    bool is_without_claim; /* the home is what the podTemplate mounts there, or goes with the pod */
};

/* Where an instance's files are: the policy's word, else the settings'. */
enum settings_storage_mode kubernetes_storage_mode(const struct settings *settings, const struct policy *policy);

/* Of the claim: the instance's name, or that of the claim that all share. */
const char *kubernetes_claim_name(const struct kubernetes_plan *plan);

/* The policy's image, else the settings'. */
const char *kubernetes_plan_image(const struct kubernetes_plan *plan);

/* Where the claim that all share is one node's: what keeps pods of this podTemplate together. False: no memory. */
bool kubernetes_sharing_add(const struct kubernetes_plan *plan, struct json_object *template);

/* Adds to a pod's `spec` which nodes it may go to. False: no memory. */
bool kubernetes_placement_add(const struct kubernetes_plan *plan, struct json_object *spec);

/* NULL with *err: ERROR_INVALID where the policy asks for what cannot be. The caller puts it. */
struct json_object *kubernetes_pod_manifest(const struct kubernetes_plan *plan, struct error *err);
struct json_object *kubernetes_secret_manifest(const struct kubernetes_plan *plan, struct error *err);
struct json_object *kubernetes_service_manifest(const struct kubernetes_plan *plan, struct error *err);
struct json_object *kubernetes_claim_manifest(const struct kubernetes_plan *plan, struct error *err);

#endif
