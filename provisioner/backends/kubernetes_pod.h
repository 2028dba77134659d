/* kubernetes_pod.h - what the API server says of one pod, and what that means for its instance. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_POD_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_POD_H

#include <netinet/in.h>
#include <stdbool.h>

#include "common/json.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_watch.h"

#define KUBERNETES_CONTAINER   "open-terminal" /* what a podTemplate calls it too */
#define KUBERNETES_PORT        8000
#define KUBERNETES_KEY_NAME    "OPEN_TERMINAL_API_KEY"
#define KUBERNETES_REASON_SIZE 400
/* An annotation of the operator's pods: a secret that was made anew holds another key than its pod got. */
#define KUBERNETES_ANNOTATION_SECRET_UID "terminals.secret-uid"

enum kubernetes_pod_state {
    KUBERNETES_POD_PENDING,       /* on its way; `reason` says how far */
    KUBERNETES_POD_UNSCHEDULABLE, /* no node takes it; one may yet */
    KUBERNETES_POD_STUCK,         /* a container cannot start: no image, bad configuration, it crashes */
    KUBERNETES_POD_RUNNING,       /* our container runs and has an address */
    KUBERNETES_POD_ENDED,         /* our container, or the pod, has ended */
    KUBERNETES_POD_TERMINATING,   /* somebody deleted it, or is evicting it */
};

struct kubernetes_pod {
    struct kubernetes_item item;
    enum kubernetes_pod_state state;
    char address[INET6_ADDRSTRLEN];       /* "" until it has one */
    char reason[KUBERNETES_REASON_SIZE];  /* in Kubernetes' own words; "" where there are none */
    bool has_controller;                  /* a controller looks after it */
    char owner_uid[KUBERNETES_UID_SIZE];  /* of that controller's object; "": there is none */
    bool is_operators;                    /* terminals-operator made it */
    char secret_uid[KUBERNETES_UID_SIZE]; /* with the operator: of the secret whose key it got */
    bool is_going;                        /* it is being deleted, whatever its state is */
    int64_t grace_s;                      /* of one that is going */
    bool is_managed;
    bool is_purge;      /* one of kubernetes_purge.c */
    bool has_succeeded; /* its phase is Succeeded */
    char *user_id;      /* these four as in kubernetes_identity */
    char *policy_id;
    char *context_id;
    char *instance_id;
    char *key;         /* secret: the instance's, where it stands in the pod itself; NULL: it does not */
    char *secret_name; /* the secret that holds it, and under which name there */
    char *secret_key;
};

/* The caller frees it. NULL: it is no pod, or no memory. */
struct kubernetes_pod *kubernetes_pod_read(struct json_object *json);
void kubernetes_pod_free(struct kubernetes_pod *pod);

/* As kubernetes_identity_matches(). */
bool kubernetes_pod_matches(const struct kubernetes_pod *pod, const struct instance_spec *spec);

#endif
