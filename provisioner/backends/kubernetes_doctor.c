/* kubernetes_doctor.c - does the API server answer us, and may we do what we must? Rights are asked for as the server
 * itself decides them (SelfSubjectAccessReview, authorization.k8s.io/v1). */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/backends/kubernetes_client.h"
#include "provisioner/backends/kubernetes_config.h"
#include "provisioner/doctor.h"

#define TIMEOUT_MS   10000
#define REVIEWS_PATH "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

/* What deploy/kubernetes/access.yaml grants. */
struct right {
    const char *resource;
    const char *verb;
    bool is_terminals; /* in the group of Terminals */
};

static const struct right direct_rights[] = {
    {"pods", "list", false},
    {"pods", "watch", false},
    {"pods", "create", false},
    {"pods", "delete", false},
    {"services", "list", false},
    {"services", "create", false},
    {"services", "delete", false},
    {"secrets", "get", false},
    {"secrets", "list", false},
    {"secrets", "create", false},
    {"secrets", "delete", false},
    {"persistentvolumeclaims", "get", false},
    {"persistentvolumeclaims", "list", false},
    {"persistentvolumeclaims", "create", false},
    {"persistentvolumeclaims", "delete", false},
};

/* What deploy/kubernetes-operator/provisioner-access.yaml grants. */
static const struct right operator_rights[] = {
    {"terminals", "list", true},
    {"terminals", "watch", true},
    {"terminals", "create", true},
    {"terminals", "update", true},
    {"terminals", "delete", true},
    {"terminals/status", "patch", true},
    {"pods", "list", false},
    {"pods", "watch", false},
    {"pods", "create", false},
    {"pods", "delete", false},
    {"secrets", "get", false},
    {"persistentvolumeclaims", "get", false},
    {"persistentvolumeclaims", "list", false},
    {"persistentvolumeclaims", "create", false},
    {"persistentvolumeclaims", "delete", false},
};

#define DIRECT_RIGHTS   (sizeof direct_rights / sizeof direct_rights[0])
#define OPERATOR_RIGHTS (sizeof operator_rights / sizeof operator_rights[0])

struct look {
    const struct settings *settings;
    struct findings *findings;
    struct event_base *base;
    struct kubernetes_client *client;
    int status; /* of the last answer; 0: none came */
    struct json_object *json;
    struct error err; /* the last answer as an error */
};

static void on_answer(void *argument, const struct kubernetes_answer *answer) {
    struct look *look = argument;
    look->status = answer->status;
    look->json = json_object_get(answer->json);
    kubernetes_answer_error(answer, &look->err, "ask the API server");
    event_base_loopbreak(look->base);
}

static void ask(struct look *look, const struct kubernetes_request *request) {
    json_object_put(look->json);
    look->json = NULL;
    look->status = 0;
    if (kubernetes_call_start(look->client, request, on_answer, look) == NULL) {
        look->findings->is_incomplete = true;
    } else {
        event_base_dispatch(look->base);
    }
}

static bool check_server(struct look *look) {
    ask(look, &(struct kubernetes_request){.method = "GET", .path = "/version", .timeout_ms = TIMEOUT_MS});
    const char *version = json_get_string(look->json, "gitVersion");
    if (look->status == 0 || look->status == 401) {
        findings_add(look->findings, "cluster", FINDING_FAIL,
                     look->status == 401 ? "look at the token or certificate in TERMINALS_KUBERNETES_KUBECONFIG"
                                         : "look at TERMINALS_KUBERNETES_KUBECONFIG and at the network",
                     "%s", look->err.message);
        return false;
    }
    findings_add(look->findings, "cluster", FINDING_OK, NULL, "the API server answers%s%s", version == NULL ? "" : ": ",
                 version == NULL ? "" : version);
    return true;
}

/* The caller puts it; NULL: no memory. */
static struct json_object *review(const struct settings *settings, const struct right *right) {
    size_t length = strcspn(right->resource, "/");
    bool has_subresource = right->resource[length] != '\0';
    cleanup_free char *resource = strndup(right->resource, length);
    struct json_object *body = json_object_new_object();
    struct json_object *spec = json_object_new_object();
    struct json_object *what = json_object_new_object();
    bool ok = body != NULL && spec != NULL && what != NULL && resource != NULL &&
              json_add_string(what, "namespace", settings->kubernetes_namespace) &&
              json_add_string(what, "verb", right->verb) && json_add_string(what, "resource", resource) &&
              (!has_subresource || json_add_string(what, "subresource", right->resource + length + 1)) &&
              (!right->is_terminals || json_add_string(what, "group", settings->kubernetes_crd_group)) &&
              json_add_string(body, "apiVersion", "authorization.k8s.io/v1") &&
              json_add_string(body, "kind", "SelfSubjectAccessReview");
    ok = ok && json_add(spec, "resourceAttributes", json_object_get(what)) &&
         json_add(body, "spec", json_object_get(spec));
    json_object_put(what);
    json_object_put(spec);
    if (!ok) {
        json_object_put(body);
        return NULL;
    }
    return body;
}

/* 1: we may, 0: we may not, -1: the server does not say. */
static int may(struct look *look, const struct right *right) {
    cleanup_json struct json_object *body = review(look->settings, right);
    if (body == NULL) {
        look->findings->is_incomplete = true;
        return -1;
    }
    ask(look,
        &(struct kubernetes_request){.method = "POST", .path = REVIEWS_PATH, .body = body, .timeout_ms = TIMEOUT_MS});
    struct json_object *status = json_get_object(look->json, "status");
    if (look->status != 201 && look->status != 200) {
        return -1;
    }
    return json_get_bool(status, "allowed", false) ? 1 : 0;
}

static void check_rights(struct look *look) {
    const char *namespace_name = look->settings->kubernetes_namespace;
    bool has_operator = look->settings->backend == BACKEND_KUBERNETES_OPERATOR;
    const struct right *rights = has_operator ? operator_rights : direct_rights;
    size_t count = has_operator ? OPERATOR_RIGHTS : DIRECT_RIGHTS;
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        int answer = may(look, &rights[i]);
        if (answer < 0) {
            findings_add(look->findings, "rights", FINDING_WARN, "look at `kubectl auth can-i --list`",
                         "the API server does not say what we may do: %s", look->err.message);
            return;
        }
        if (answer == 0) {
            missing++;
            findings_add(look->findings, "rights", FINDING_FAIL,
                         has_operator ? "apply -k deploy/kubernetes-operator" : "apply deploy/kubernetes/access.yaml",
                         "we may not %s %s in namespace `%s`", rights[i].verb, rights[i].resource, namespace_name);
        }
    }
    if (missing == 0) {
        findings_add(look->findings, "rights", FINDING_OK, NULL, "all that are needed in namespace `%s`",
                     namespace_name);
    }
}

static bool open_client(struct look *look, struct error *err) {
    const char *path = look->settings->kubernetes_kubeconfig;
    struct kubernetes_config config;
    bool ok = path != NULL
                  ? kubernetes_config_read(path, &config, err)
                  : kubernetes_config_in_cluster(getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT"),
                                                 KUBERNETES_SERVICE_ACCOUNT, &config, err);
    look->client = ok ? kubernetes_client_open(&config, look->settings->kubernetes_namespace, look->base, err) : NULL;
    return look->client != NULL;
}

void doctor_look_at_kubernetes(const struct settings *settings, struct findings *findings) {
    struct error err = {0};
    struct look look = {.settings = settings, .findings = findings, .base = event_base_new()};
    if (look.base == NULL) {
        findings->is_incomplete = true;
        return;
    }
    if (!open_client(&look, &err)) {
        findings_add(findings, "cluster", FINDING_FAIL, "look at TERMINALS_KUBERNETES_KUBECONFIG", "%s", err.message);
    } else if (check_server(&look)) {
        check_rights(&look);
    }
    json_object_put(look.json);
    kubernetes_client_close(look.client);
    event_base_free(look.base);
}
