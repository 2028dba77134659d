#include "provisioner/backends/kubernetes_config.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/secret.h"
#include "common/yaml_json.h"

#define FILE_MAX_BYTES (1024 * 1024)
#define DATA_MAX_BYTES (256 * 1024)

/* --- files and texts ---------------------------------------------------------------------------------------------- */

/* The caller frees it with secret_free(). */
static char *read_file(const char *path, size_t *length, struct stat *status, struct error *err) {
    cleanup_fclose FILE *file = fopen(path, "re");
    if (file == NULL || fstat(fileno(file), status) != 0) {
        error_set_errno(err, ERROR_INVALID, "open `%s`", path);
        return NULL;
    }
    cleanup_secret char *text = calloc(1, FILE_MAX_BYTES + 1);
    if (text == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    setvbuf(file, NULL, _IONBF, 0); /* a buffer of stdio's would keep the token */
    *length = fread(text, 1, FILE_MAX_BYTES, file);
    if (ferror(file) != 0 || *length == FILE_MAX_BYTES || memchr(text, '\0', *length) != NULL) {
        error_set(err, ERROR_INVALID, "`%s` is no text file of less than 1 MiB", path);
        return NULL;
    }
    return strdup(text);
}

static bool copy_text(char **out, const char *text, struct error *err) {
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* A path in a kubeconfig is relative to it. */
static bool copy_path(char **out, const char *path, const char *folder, struct error *err) {
    if (path == NULL || path[0] == '/') {
        return copy_text(out, path, err);
    }
    if (asprintf(out, "%s/%s", folder, path) < 0) {
        *out = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

static bool decode(const char *name, const char *base64, struct kubernetes_pem *out, struct error *err) {
    size_t length = base64 == NULL ? 0 : strlen(base64);
    if (base64 == NULL) {
        return true;
    }
    if (length == 0 || length > DATA_MAX_BYTES || length % 4 != 0) {
        return error_set(err, ERROR_INVALID, "`%s` is no base64", name);
    }
    out->data = calloc(1, length + 1);
    if (out->data == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    int decoded = EVP_DecodeBlock((unsigned char *)out->data, (const unsigned char *)base64, (int)length);
    size_t padding = (size_t)(base64[length - 1] == '=') + (size_t)(base64[length - 2] == '=');
    if (decoded < (int)padding || decoded == 0) {
        return error_set(err, ERROR_INVALID, "`%s` is no base64", name);
    }
    out->length = (size_t)decoded - padding;
    return true;
}

/* As it goes into a header. */
static bool is_token(const char *token) {
    for (const char *c = token; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f) {
            return false;
        }
    }
    return token[0] != '\0';
}

static bool set_server(struct kubernetes_config *config, const char *server, struct error *err) {
    if (server == NULL || strncmp(server, "https://", 8) != 0 || strpbrk(server, " \t\n?#@") != NULL ||
        server[8] == '\0' || server[8] == '/') {
        return error_set(err, ERROR_INVALID,
                         "`server` must be https://host:port: nothing is sent to an API server in the clear");
    }
    if (!copy_text(&config->server, server, err)) {
        return false;
    }
    size_t length = strlen(config->server);
    while (config->server[length - 1] == '/') {
        config->server[--length] = '\0';
    }
    return true;
}

/* --- the token ---------------------------------------------------------------------------------------------------- */

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool kubernetes_config_refresh_token(struct kubernetes_config *config, struct error *err) {
    struct stat status = {0};
    size_t length = 0;
    if (config->token_file == NULL || (config->token != NULL && stat(config->token_file, &status) == 0 &&
                                       is_same_file(&status, &config->token_status))) {
        return true;
    }
    cleanup_secret char *text = read_file(config->token_file, &length, &status, err);
    if (text == NULL) {
        return false;
    }
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL) {
        text[--length] = '\0';
    }
    if (!is_token(text)) {
        return error_set(err, ERROR_INVALID, "`%s` holds no token", config->token_file);
    }
    secret_free(config->token);
    config->token = steal_pointer(&text);
    config->token_status = status;
    return true;
}

/* --- a kubeconfig ------------------------------------------------------------------------------------------------- */

static bool refuse_members(struct json_object *object, const char *const (*refused)[2], struct error *err) {
    for (; (*refused)[0] != NULL; refused++) {
        struct json_object *value = NULL;
        if (json_object_object_get_ex(object, (*refused)[0], &value) && value != NULL &&
            !(json_object_is_type(value, json_type_boolean) && !json_object_get_boolean(value))) {
            return error_set(err, ERROR_INVALID, "`%s`: %s", (*refused)[0], (*refused)[1]);
        }
    }
    return true;
}

static bool take_cluster(struct kubernetes_config *config, struct json_object *cluster, const char *folder,
                         struct error *err) {
    static const char *const refused[][2] = {
        {"insecure-skip-tls-verify", "the API server's certificate is always verified; name its CA with "
                                     "`certificate-authority` or `certificate-authority-data`"},
        {NULL, NULL},
    };
    const char *data = json_get_string(cluster, "certificate-authority-data");
    return refuse_members(cluster, refused, err) && set_server(config, json_get_string(cluster, "server"), err) &&
           copy_text(&config->server_name, json_get_string(cluster, "tls-server-name"), err) &&
           copy_text(&config->proxy_url, json_get_string(cluster, "proxy-url"), err) &&
           decode("certificate-authority-data", data, &config->ca, err) &&
           (data != NULL ||
            copy_path(&config->ca_file, json_get_string(cluster, "certificate-authority"), folder, err));
}

static bool take_token(struct kubernetes_config *config, struct json_object *user, const char *folder,
                       struct error *err) {
    const char *token = json_get_string(user, "token");
    if (!copy_path(&config->token_file, json_get_string(user, "tokenFile"), folder, err)) {
        return false;
    }
    if (config->token_file != NULL) {
        return kubernetes_config_refresh_token(config, err);
    }
    if (token != NULL && !is_token(token)) {
        return error_set(err, ERROR_INVALID, "`token` has characters that no token has");
    }
    return copy_text(&config->token, token, err);
}

static bool take_user(struct kubernetes_config *config, struct json_object *user, const char *folder,
                      struct error *err) {
    static const char *const refused[][2] = {
        {"exec", "credential plugins are programs, which Terminals does not run: use a service account's token "
                 "(`kubectl create token`, or `tokenFile`) or a client certificate"},
        {"auth-provider", "Kubernetes removed these in 1.26: use a token or a client certificate"},
        {"username", "Kubernetes removed basic authentication in 1.19: use a token or a client certificate"},
        {"as", "impersonation is not supported: use the credentials of who Terminals shall be"},
        {NULL, NULL},
    };
    const char *certificate = json_get_string(user, "client-certificate-data");
    const char *key = json_get_string(user, "client-key-data");
    if (!(refuse_members(user, refused, err) && take_token(config, user, folder, err) &&
          decode("client-certificate-data", certificate, &config->certificate, err) &&
          decode("client-key-data", key, &config->key, err) &&
          (certificate != NULL ||
           copy_path(&config->certificate_file, json_get_string(user, "client-certificate"), folder, err)) &&
          (key != NULL || copy_path(&config->key_file, json_get_string(user, "client-key"), folder, err)))) {
        return false;
    }
    bool has_certificate = config->certificate.data != NULL || config->certificate_file != NULL;
    bool has_key = config->key.data != NULL || config->key_file != NULL;
    if (has_certificate != has_key) {
        return error_set(err, ERROR_INVALID, "a client certificate and its key come together");
    }
    return has_certificate || config->token != NULL ||
           error_set(err, ERROR_INVALID, "the user has neither a token nor a client certificate");
}

/* `contexts: [{name: x, context: {…}}]` → the object of that name. */
static struct json_object *find(struct json_object *root, const char *list, const char *member, const char *name) {
    struct json_object *array = json_get_array(root, list);
    for (size_t i = 0; name != NULL && array != NULL && i < json_object_array_length(array); i++) {
        struct json_object *entry = json_object_array_get_idx(array, i);
        const char *called = json_object_is_type(entry, json_type_object) ? json_get_string(entry, "name") : NULL;
        if (called != NULL && strcmp(called, name) == 0) {
            return json_get_object(entry, member);
        }
    }
    return NULL;
}

static const char *name_or_empty(const char *name) {
    return name == NULL ? "" : name;
}

static bool take_context(struct kubernetes_config *config, struct json_object *root, const char *folder,
                         struct error *err) {
    const char *name = json_get_string(root, "current-context");
    struct json_object *context = find(root, "contexts", "context", name);
    if (context == NULL) {
        return error_set(err, ERROR_INVALID, "it has no context `%s`, its `current-context`", name_or_empty(name));
    }
    const char *cluster_name = json_get_string(context, "cluster");
    const char *user_name = json_get_string(context, "user");
    struct json_object *cluster = find(root, "clusters", "cluster", cluster_name);
    struct json_object *user = find(root, "users", "user", user_name);
    if (cluster == NULL || user == NULL) {
        return error_set(err, ERROR_INVALID, "it has no %s `%s`, which its context `%s` names",
                         cluster == NULL ? "cluster" : "user",
                         cluster == NULL ? name_or_empty(cluster_name) : name_or_empty(user_name), name);
    }
    return take_cluster(config, cluster, folder, err) && take_user(config, user, folder, err);
}

bool kubernetes_config_parse(const char *text, size_t length, const char *folder, struct kubernetes_config *out,
                             struct error *err) {
    *out = (struct kubernetes_config){0};
    cleanup_json struct json_object *root = yaml_to_json(text, length, err);
    if (root == NULL) {
        return false;
    }
    if (!json_object_is_type(root, json_type_object)) {
        return error_set(err, ERROR_INVALID, "it is no object");
    }
    if (take_context(out, root, folder, err)) {
        return true;
    }
    kubernetes_config_free(out);
    return false;
}

bool kubernetes_config_read(const char *path, struct kubernetes_config *out, struct error *err) {
    struct stat status;
    size_t length = 0;
    cleanup_secret char *text = read_file(path, &length, &status, err);
    cleanup_free char *folder = strdup(path);
    if (text == NULL || folder == NULL) {
        return error_prefix(err, "TERMINALS_KUBERNETES_KUBECONFIG");
    }
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    return kubernetes_config_parse(text, length, slash == NULL ? "." : folder, out, err) ||
           error_prefix(err, "TERMINALS_KUBERNETES_KUBECONFIG: `%s`", path);
}

/* --- in a pod ----------------------------------------------------------------------------------------------------- */

bool kubernetes_config_in_cluster(const char *host, const char *port, const char *folder, struct kubernetes_config *out,
                                  struct error *err) {
    *out = (struct kubernetes_config){0};
    if (host == NULL || port == NULL || host[0] == '\0' || port[0] == '\0') {
        return error_set(
            err, ERROR_INVALID,
            "this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set): name a kubeconfig file with "
            "TERMINALS_KUBERNETES_KUBECONFIG");
    }
    bool is_ipv6 = strchr(host, ':') != NULL;
    int length = asprintf(&out->server, "https://%s%s%s:%s", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
    out->server = length < 0 ? NULL : out->server;
    if (out->server != NULL && asprintf(&out->token_file, "%s/token", folder) < 0) {
        out->token_file = NULL;
    }
    if (out->token_file != NULL && asprintf(&out->ca_file, "%s/ca.crt", folder) < 0) {
        out->ca_file = NULL;
    }
    if (out->ca_file == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    } else if (kubernetes_config_refresh_token(out, err)) {
        return true;
    } else {
        error_prefix(err, "the pod's service account");
    }
    kubernetes_config_free(out);
    return false;
}

static void pem_free(struct kubernetes_pem *pem) {
    if (pem->data != NULL) {
        explicit_bzero(pem->data, pem->length);
        free(pem->data);
    }
}

void kubernetes_config_free(struct kubernetes_config *config) {
    free(config->server);
    free(config->server_name);
    free(config->proxy_url);
    free(config->ca_file);
    pem_free(&config->ca);
    pem_free(&config->certificate);
    pem_free(&config->key);
    free(config->certificate_file);
    free(config->key_file);
    free(config->token_file);
    secret_free(config->token);
    *config = (struct kubernetes_config){0};
}
