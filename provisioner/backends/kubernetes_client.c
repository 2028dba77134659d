#include "provisioner/backends/kubernetes_client.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_client_internal.h"

#define CONNECTIONS_MAX 24L

/* With a `tls-server-name`, URLs name that and connections go to the server all the same. */
static bool set_origin(struct kubernetes_client *client) {
    const struct kubernetes_config *config = &client->config;
    if (config->server_name == NULL) {
        client->origin = strdup(config->server);
        return client->origin != NULL;
    }
    const char *host = config->server + strlen("https://");
    size_t host_length = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    size_t authority_length = strcspn(host, "/");
    bool has_port = host_length < authority_length;
    cleanup_buffer struct buffer origin = {0};
    cleanup_buffer struct buffer connect_to = {0};
    buffer_append_format(&origin, "https://%s%.*s%s", config->server_name, (int)(authority_length - host_length),
                         host + host_length, host + authority_length);
    buffer_append_format(&connect_to, "::%.*s%s", (int)authority_length, host, has_port ? "" : ":443");
    client->origin = buffer_take(&origin);
    client->connect_to = connect_to.failed ? NULL : curl_slist_append(NULL, connect_to.data);
    return client->origin != NULL && client->connect_to != NULL;
}

struct kubernetes_client *kubernetes_client_open(struct kubernetes_config *config, const char *namespace_name,
                                                 struct event_base *base, struct error *err) {
    struct kubernetes_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        kubernetes_config_free(config);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    const struct curl_loop_callbacks callbacks = {client, kubernetes_call_progressed, kubernetes_call_ended};
    client->base = base;
    client->config = *config;
    *config = (struct kubernetes_config){0};
    client->namespace_name = strdup(namespace_name);
    client->loop = curl_loop_open(base, &callbacks);
    if (client->namespace_name == NULL || client->loop == NULL || !set_origin(client)) {
        kubernetes_client_close(client);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    curl_loop_limit_connections(client->loop, CONNECTIONS_MAX);
    return client;
}

struct kubernetes_client *kubernetes_client_connect(const struct settings *settings, struct event_base *base,
                                                    struct error *err) {
    struct kubernetes_config config;
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    bool ok = settings->kubernetes_kubeconfig != NULL
                  ? kubernetes_config_read(settings->kubernetes_kubeconfig, &config, err)
                  : kubernetes_config_in_cluster(host, port, KUBERNETES_SERVICE_ACCOUNT, &config, err);
    if (!ok) {
        return NULL;
    }
    log_info(NULL, "instances are pods in namespace `%s` of %s", settings->kubernetes_namespace, config.server);
    return kubernetes_client_open(&config, settings->kubernetes_namespace, base, err);
}

void kubernetes_client_close(struct kubernetes_client *client) {
    if (client == NULL) {
        return;
    }
    while (client->calls != NULL) {
        kubernetes_call_cancel(client->calls);
    }
    curl_loop_close(client->loop);
    curl_slist_free_all(client->connect_to);
    free(client->origin);
    free(client->namespace_name);
    kubernetes_config_free(&client->config);
    free(client);
}

bool kubernetes_answer_is_for_later(const struct kubernetes_answer *answer) {
    return answer->status == 0 || answer->status == 429 || answer->status >= 500 || answer->status == 401 ||
           (answer->status == 403 && strstr(answer->message, "exceeded quota") != NULL);
}

bool kubernetes_answer_error(const struct kubernetes_answer *answer, struct error *err, const char *what) {
    if (answer->status == 0) {
        error_set(err, ERROR_CAPACITY, "%s: the Kubernetes API server does not answer: %s", what, answer->failure);
        return error_veil(err, "The Kubernetes API server does not answer");
    }
    bool is_for_later = kubernetes_answer_is_for_later(answer);
    return error_set(err, is_for_later ? ERROR_CAPACITY : ERROR_BACKEND, "%s: Kubernetes says %d%s%s%s%s", what,
                     answer->status, answer->reason[0] == '\0' ? "" : " ", answer->reason,
                     answer->message[0] == '\0' ? "" : ": ", answer->message);
}
