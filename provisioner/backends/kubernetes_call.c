/* kubernetes_call.c - one call to the API server: its request, its answer, and what is tried again. */

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/curl_answer.h"
#include "provisioner/backends/kubernetes_client_internal.h"

#define CONNECT_TIMEOUT_MS 5000
#define ANSWER_MAX_BYTES   (64 * 1024 * 1024)
#define LINE_MAX_BYTES     (8 * 1024 * 1024) /* etcd's largest object is 1.5 MiB */
#define SILENCE_MAX_S      180L              /* of a watch: bookmarks come about once a minute */
#define KEEPALIVE_S        15L
#define TRIES_MAX          10
#define PAUSE_MAX_S        30
#define CONFLICT_PAUSE_MS  20

struct kubernetes_call {
    struct kubernetes_client *client;
    CURL *easy;
    bool is_added;
    struct curl_slist *headers;
    char *method;
    char *url;
    char *body;
    enum kubernetes_form form;
    int timeout_ms;
    struct curl_answer answer;
    kubernetes_done *done;
    void *argument;
    struct event *pause; /* until the next try */
    int tries;
    bool has_new_token;
    struct kubernetes_call *prev, *next;
};

/* Of what an answer shall be made (https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches).
 */
static const char *const accepts[] = {
    [KUBERNETES_WHOLE] = "Accept: application/json",
    [KUBERNETES_METADATA] = "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    [KUBERNETES_METADATA_LIST] = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
};

static bool begin(struct kubernetes_call *call);

/* --- the end of a call -------------------------------------------------------------------------------------------- */

static void drop_transfer(struct kubernetes_call *call) {
    if (call->easy != NULL) {
        if (call->is_added) {
            curl_loop_remove(call->client->loop, call->easy);
            call->is_added = false;
        }
        curl_easy_cleanup(call->easy);
        call->easy = NULL;
    }
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    curl_answer_clear(&call->answer);
}

void kubernetes_call_cancel(struct kubernetes_call *call) {
    if (call == NULL) {
        return;
    }
    DL_DELETE(call->client->calls, call);
    drop_transfer(call);
    if (call->pause != NULL) {
        event_free(call->pause);
    }
    free(call->method);
    free(call->url);
    secret_free(call->body); /* an instance's key may be in there */
    free(call);
}

static void tell(struct kubernetes_call *call, const struct kubernetes_answer *answer) {
    kubernetes_done *done = call->done;
    call->done = NULL;
    done(call->argument, answer);
    kubernetes_call_cancel(call);
}

static void on_pause_over(evutil_socket_t fd, short what, void *argument) {
    struct kubernetes_call *call = argument;
    (void)fd;
    (void)what;
    if (!begin(call)) {
        const struct kubernetes_answer answer = {.failure = "out of memory", .reason = "", .message = ""};
        tell(call, &answer);
    }
}

/* How long to wait before the same is asked again; -1: not again. */
static int pause_ms(struct kubernetes_call *call, const struct kubernetes_answer *answer) {
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (call->tries >= TRIES_MAX) {
        return -1;
    }
    if (answer->status == 401 && !call->has_new_token) {
        struct error err;
        cleanup_secret char *before = call->client->config.token == NULL ? NULL : strdup(call->client->config.token);
        call->has_new_token = true;
        return kubernetes_config_refresh_token(&call->client->config, &err) && before != NULL &&
                       !secret_equals(before, call->client->config.token)
                   ? 0
                   : -1;
    }
    if (answer->status == 429 || (answer->status >= 500 && retry_after_s > 0)) {
        retry_after_s = retry_after_s < 1 ? 1 : retry_after_s;
        return (int)(retry_after_s > PAUSE_MAX_S ? PAUSE_MAX_S : retry_after_s) * 1000;
    }
    /* The message of a quota's conflict: "Operation cannot be fulfilled on resourcequotas …". */
    bool is_quotas =
        answer->status == 409 && strcmp(call->method, "POST") == 0 && strcmp(answer->reason, "Conflict") == 0;
    return is_quotas ? CONFLICT_PAUSE_MS << (call->tries < 6 ? call->tries : 6) : -1;
}

static bool try_again(struct kubernetes_call *call, const struct kubernetes_answer *answer) {
    int after_ms = pause_ms(call, answer);
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (after_ms < 0) {
        return false;
    }
    if (call->pause == NULL) {
        call->pause = evtimer_new(call->client->base, on_pause_over, call);
    }
    if (call->pause == NULL || evtimer_add(call->pause, &after) != 0) {
        return false;
    }
    log_debug(NULL, "the API server says %d to %s %s: again in %d ms", answer->status, call->method, call->url,
              after_ms);
    call->tries++;
    drop_transfer(call);
    return true;
}

static void finish(struct kubernetes_call *call, CURLcode result) {
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    struct kubernetes_answer answer = {.status = (int)status, .failure = "", .reason = "", .message = ""};
    const struct buffer *body = &call->answer.bytes;
    bool has_body = body->data != NULL && (call->answer.line == NULL || status != 200);
    const char *failure = curl_answer_failure(&call->answer, result);
    cleanup_json struct json_object *json = NULL;
    if (failure != NULL) {
        answer.status = 0;
        answer.failure = failure;
    } else if (has_body && body->data[0] == '{') {
        json = json_parse_object(body->data, body->length, NULL);
        const char *reason = json_get_string(json, "reason");
        const char *message = json_get_string(json, "message");
        answer.json = json;
        answer.reason = reason == NULL ? "" : reason;
        answer.message = message == NULL ? "" : message;
    }
    if (!try_again(call, &answer)) {
        curl_loop_remove(call->client->loop, call->easy);
        call->is_added = false;
        tell(call, &answer);
    }
}

/* --- what arrives ------------------------------------------------------------------------------------------------- */

void kubernetes_call_progressed(void *argument) {
    struct kubernetes_client *client = argument;
    struct kubernetes_call *call = client->calls;
    while (call != NULL) {
        /* Whoever was told something may have changed the list: then from the beginning. */
        bool is_there = !curl_answer_has_line(&call->answer) || curl_answer_deliver(&call->answer);
        call = is_there ? call->next : client->calls;
    }
}

void kubernetes_call_ended(void *argument, CURL *easy, CURLcode result) {
    struct kubernetes_client *client = argument;
    struct kubernetes_call *call = NULL;
    DL_SEARCH_SCALAR(client->calls, call, easy, easy);
    if (call != NULL && call->done != NULL) {
        finish(call, result);
    }
}

/* Instances may be forked off beside us: none may inherit a connection. */
static curl_socket_t open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)argument;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void set_pem(CURL *easy, CURLoption option, const struct kubernetes_pem *pem) {
    if (pem->data != NULL) {
        const struct curl_blob blob = {.data = pem->data, .len = pem->length, .flags = CURL_BLOB_NOCOPY};
        curl_easy_setopt(easy, option, &blob);
    }
}

static void set_tls(CURL *easy, const struct kubernetes_config *config) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    if (config->ca.data != NULL || config->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* this CA and no other */
        curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
        set_pem(easy, CURLOPT_CAINFO_BLOB, &config->ca);
    }
    curl_easy_setopt(easy, CURLOPT_SSLCERT, config->certificate_file);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, config->key_file);
    set_pem(easy, CURLOPT_SSLCERT_BLOB, &config->certificate);
    set_pem(easy, CURLOPT_SSLKEY_BLOB, &config->key);
}

static bool add_header(struct kubernetes_call *call, const char *header) {
    struct curl_slist *longer = curl_slist_append(call->headers, header);
    call->headers = longer == NULL ? call->headers : longer;
    return longer != NULL;
}

static bool set_headers(struct kubernetes_call *call) {
    struct kubernetes_config *config = &call->client->config;
    struct error err;
    if (!kubernetes_config_refresh_token(config, &err)) {
        log_warning(NULL, "%s: the last token is used on", err.message);
    }
    if (config->token != NULL && (curl_easy_setopt(call->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER) != CURLE_OK ||
                                  curl_easy_setopt(call->easy, CURLOPT_XOAUTH2_BEARER, config->token) != CURLE_OK)) {
        return false;
    }
    return add_header(call, accepts[call->form]) &&
           (call->body == NULL ||
            add_header(call, strcmp(call->method, "PATCH") == 0 ? "Content-Type: application/merge-patch+json"
                                                                : "Content-Type: application/json")) &&
           curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

static void set_options(struct kubernetes_call *call) {
    const struct kubernetes_client *client = call->client;
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    if (call->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
    }
    if (client->connect_to != NULL) {
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, client->connect_to);
    }
    curl_easy_setopt(easy, CURLOPT_PROXY, client->config.proxy_url == NULL ? "" : client->config.proxy_url);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* a connection that fails fails alone */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L); /* a server that vanished from the network ends the watch */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S);
    if (call->answer.line != NULL) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SILENCE_MAX_S);
    }
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_answer_begin(&call->answer, easy);
}

static bool begin(struct kubernetes_call *call) {
    call->easy = curl_easy_init();
    if (call->easy == NULL || curl_easy_setopt(call->easy, CURLOPT_URL, call->url) != CURLE_OK || !set_headers(call)) {
        return false;
    }
    set_tls(call->easy, &call->client->config);
    set_options(call);
    call->is_added = curl_loop_add(call->client->loop, call->easy);
    return call->is_added;
}

static void append_after(struct buffer *url, const char *separator, const char *text) {
    if (text != NULL) {
        buffer_append_format(url, "%s%s", separator, text);
    }
}

static bool take_request(struct kubernetes_call *call, const struct kubernetes_request *request) {
    cleanup_buffer struct buffer url = {0};
    if (request->path != NULL) {
        buffer_append_format(&url, "%s%s", call->client->origin, request->path);
    } else {
        buffer_append_format(&url, "%s/%s/namespaces/%s/%s", call->client->origin,
                             request->api == NULL ? "api/v1" : request->api, call->client->namespace_name,
                             request->kind);
        append_after(&url, "/", request->name);
        append_after(&url, "/", request->subresource);
        append_after(&url, "", request->query);
    }
    const char *body = request->body == NULL ? NULL : json_text(request->body, NULL);
    call->url = buffer_take(&url);
    call->method = strdup(request->method);
    call->body = body == NULL ? NULL : strdup(body);
    call->form = request->form;
    call->timeout_ms = request->timeout_ms;
    call->answer.line = request->line;
    call->answer.argument = call->argument;
    call->answer.max_bytes = request->line != NULL ? LINE_MAX_BYTES : ANSWER_MAX_BYTES;
    return call->url != NULL && call->method != NULL && (call->body != NULL || request->body == NULL);
}

struct kubernetes_call *kubernetes_call_start(struct kubernetes_client *client,
                                              const struct kubernetes_request *request, kubernetes_done *done,
                                              void *argument) {
    struct kubernetes_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->client = client;
    call->done = done;
    call->argument = argument;
    DL_APPEND(client->calls, call);
    if (!take_request(call, request) || !begin(call)) {
        kubernetes_call_cancel(call);
        return NULL;
    }
    return call;
}
