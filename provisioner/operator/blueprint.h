/* blueprint.h - the objects that a Terminal's spec asks for. Pure. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_BLUEPRINT_H
#define TERMINALS_PROVISIONER_OPERATOR_BLUEPRINT_H

#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_terminal.h"
#include "provisioner/operator/controller.h"

struct blueprint {
    struct instance_spec spec; /* borrowed from the Terminal */
    struct policy policy;      /* the spec's, in a policy's words */
    struct json_object *env;   /* owned, as is policy.data */
    struct settings settings;  /* the operator's, with what the spec says instead; owns nothing */
    struct kubernetes_plan plan;
    bool has_claim;  /* files that outlive the pod, in a claim of its own */
    int64_t idle_ms; /* how long it may be unused; 0: for ever */
    const char *api_version;
    const char *owner_uid;
};

/* Reads a spec. Borrows `terminal` and `controller`; must not move, and is freed whatever comes out. False with *err:
 * ERROR_INVALID says what in it cannot be. */
bool blueprint_read(struct blueprint *blueprint, const struct controller *controller,
                    const struct kubernetes_terminal *terminal, struct error *err);
void blueprint_free(struct blueprint *blueprint);

/* The objects, which name the Terminal as their owner; the claim does not: it outlives its Terminal, with its user's
 * files. NULL with *err. The secret gets a key of its own. `secret_uid` is that of the secret whose key the pod gets.
 */
struct json_object *blueprint_claim(const struct blueprint *blueprint, struct error *err);
struct json_object *blueprint_secret(const struct blueprint *blueprint, struct error *err);
struct json_object *blueprint_service(const struct blueprint *blueprint, struct error *err);
struct json_object *blueprint_pod(const struct blueprint *blueprint, const char *secret_uid, struct error *err);

#endif
