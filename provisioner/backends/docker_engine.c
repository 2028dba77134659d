#include "provisioner/backends/docker_engine.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "provisioner/backends/curl_answer.h"
#include "provisioner/backends/curl_loop.h"

#define API_VERSION        41 /* of 1.41: the oldest that has all we use, and still spoken by engines of 2020 to 2025 */
#define CONNECT_TIMEOUT_MS 3000
#define ANSWER_MAX_BYTES   (64 * 1024 * 1024) /* the list of ten thousand containers is about 20 MB */
#define LINE_MAX_BYTES     (1024 * 1024)

struct docker_engine {
    struct curl_loop *loop;
    char *socket_path; /* NULL with tcp:// */
    char *origin;      /* "http://docker" or "http://name:port" */
    int version;       /* of 1.x */
    struct docker_call *calls;
};

struct docker_call {
    struct docker_engine *engine;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    struct curl_answer answer;
    docker_done *done;
    void *argument;
    struct docker_call *prev, *next;
};

/* --- the end of a call -------------------------------------------------------------------------------------------- */

void docker_call_cancel(struct docker_call *call) {
    if (call == NULL) {
        return;
    }
    DL_DELETE(call->engine->calls, call);
    if (call->easy != NULL) {
        curl_loop_remove(call->engine->loop, call->easy);
        curl_easy_cleanup(call->easy);
    }
    curl_slist_free_all(call->headers);
    if (call->body != NULL) {
        explicit_bzero(call->body, strlen(call->body)); /* instance keys are in there */
        free(call->body);
    }
    curl_answer_clear(&call->answer);
    free(call);
}

static struct json_object *parse_body(const struct buffer *body) {
    return body->length > 0 && (body->data[0] == '{' || body->data[0] == '[')
               ? json_parse(body->data, body->length, NULL)
               : NULL;
}

static void finish(struct docker_call *call, CURLcode result) {
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    struct docker_answer answer = {.status = (int)status, .body = "", .failure = ""};
    const char *failure = curl_answer_failure(&call->answer, result);
    if (failure != NULL) {
        answer.status = 0;
        answer.failure = failure;
    } else if (call->answer.bytes.data != NULL && (call->answer.line == NULL || status != 200)) {
        answer.body = call->answer.bytes.data;
        answer.length = call->answer.bytes.length;
    }
    cleanup_json struct json_object *json = answer.length == 0 ? NULL : parse_body(&call->answer.bytes);
    answer.json = json;
    /* Out of the list first, so that `done` may do what it likes with everybody else. */
    docker_done *done = call->done;
    void *argument = call->argument;
    curl_loop_remove(call->engine->loop, call->easy);
    call->done = NULL;
    done(argument, &answer);
    docker_call_cancel(call);
}

/* --- what arrives ----------------------------------------------------------------------------------- */

static void on_progress(void *argument) {
    struct docker_engine *engine = argument;
    struct docker_call *call = engine->calls;
    while (call != NULL) {
        /* Whoever was told something may have changed the list: then from the beginning. */
        bool is_there = !curl_answer_has_line(&call->answer) || curl_answer_deliver(&call->answer);
        call = is_there ? call->next : engine->calls;
    }
}

static void on_ended(void *argument, CURL *easy, CURLcode result) {
    struct docker_engine *engine = argument;
    struct docker_call *call = NULL;
    DL_SEARCH_SCALAR(engine->calls, call, easy, easy);
    if (call != NULL && call->done != NULL) {
        finish(call, result);
    }
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static bool set_request(struct docker_call *call, const struct docker_request *request) {
    struct docker_engine *engine = call->engine;
    cleanup_buffer struct buffer url = {0};
    buffer_append_string(&url, engine->origin);
    if (!request->without_version) {
        buffer_append_format(&url, "/v1.%d", engine->version);
    }
    CURL *easy = call->easy;
    if (!buffer_append_string(&url, request->path) || curl_easy_setopt(easy, CURLOPT_URL, url.data) != CURLE_OK) {
        return false;
    }
    if (request->body != NULL) {
        const char *text = json_text(request->body, NULL);
        call->body = text == NULL ? NULL : strdup(text);
        call->headers = curl_slist_append(NULL, "Content-Type: application/json");
        if (call->body == NULL || call->headers == NULL ||
            curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers) != CURLE_OK) {
            return false;
        }
    }
    if (strcmp(request->method, "POST") == 0) {
        const char *body = call->body == NULL ? "" : call->body;
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    } else if (strcmp(request->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
    if (engine->socket_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, engine->socket_path);
    }
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L); /* an engine that vanished from the network ends the events */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* http_proxy is not meant for the engine */
    curl_answer_begin(&call->answer, easy);
    return true;
}

struct docker_call *docker_call_start(struct docker_engine *engine, const struct docker_request *request,
                                      docker_done *done, void *argument) {
    struct docker_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->engine = engine;
    call->answer.line = request->line;
    call->answer.argument = argument;
    call->answer.max_bytes = request->line != NULL ? LINE_MAX_BYTES : ANSWER_MAX_BYTES;
    call->done = done;
    call->argument = argument;
    call->easy = curl_easy_init();
    DL_APPEND(engine->calls, call);
    if (call->easy == NULL || !set_request(call, request) || !curl_loop_add(engine->loop, call->easy)) {
        docker_call_cancel(call);
        return NULL;
    }
    return call;
}

/* --- the engine --------------------------------------------------------------------------------------------------- */

static bool set_host(struct docker_engine *engine, const char *host, struct error *err) {
    if (strncmp(host, "unix://", 7) == 0 && host[7] == '/') {
        engine->socket_path = strdup(host + 7);
        engine->origin = strdup("http://docker");
    } else if (strncmp(host, "tcp://", 6) == 0 && host[6] != '\0') {
        engine->origin = asprintf(&engine->origin, "http://%s", host + 6) < 0 ? NULL : engine->origin;
    } else {
        return error_set(err, ERROR_INVALID, "TERMINALS_DOCKER_HOST: `%s` is neither unix:///path nor tcp://host:port",
                         host);
    }
    bool has_path = engine->socket_path != NULL || strncmp(host, "tcp://", 6) == 0;
    return (engine->origin != NULL && has_path) || error_set(err, ERROR_INTERNAL, "out of memory");
}

struct docker_engine *docker_engine_open(const char *host, struct event_base *base, struct error *err) {
    struct docker_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    engine->version = API_VERSION;
    if (!set_host(engine, host, err)) {
        docker_engine_close(engine);
        return NULL;
    }
    const struct curl_loop_callbacks callbacks = {engine, on_progress, on_ended};
    engine->loop = curl_loop_open(base, &callbacks);
    if (engine->loop == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        docker_engine_close(engine);
        return NULL;
    }
    return engine;
}

void docker_engine_close(struct docker_engine *engine) {
    if (engine == NULL) {
        return;
    }
    while (engine->calls != NULL) {
        docker_call_cancel(engine->calls);
    }
    curl_loop_close(engine->loop);
    free(engine->socket_path);
    free(engine->origin);
    free(engine);
}

/* "1.43" → 43, anything else → 0. */
static int minor_version(const char *text) {
    return text != NULL && strncmp(text, "1.", 2) == 0 ? atoi(text + 2) : 0;
}

void docker_engine_set_version(struct docker_engine *engine, const char *newest, const char *oldest) {
    int newest_minor = minor_version(newest);
    int oldest_minor = minor_version(oldest);
    engine->version = API_VERSION;
    if (newest_minor > 0 && newest_minor < API_VERSION) {
        engine->version = newest_minor;
    } else if (oldest_minor > API_VERSION) {
        engine->version = oldest_minor;
    }
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

const char *docker_answer_message(const struct docker_answer *answer) {
    const char *message = json_get_string(answer->json, "message");
    return message == NULL ? "" : message;
}

bool docker_answer_error(const struct docker_answer *answer, struct error *err, const char *format, ...) {
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (answer->status == 0) {
        error_set(err, ERROR_CAPACITY, "%s: the Docker engine does not answer: %s", what, answer->failure);
        return error_veil(err, "The Docker engine does not answer");
    }
    const char *message = docker_answer_message(answer);
    return error_set(err, ERROR_BACKEND, "%s: the Docker engine says %d%s%s", what, answer->status,
                     message[0] == '\0' ? "" : ": ", message);
}

char *docker_escape(const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    cleanup_buffer struct buffer escaped = {0};
    buffer_append_string(&escaped, "");
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            buffer_append(&escaped, text, 1);
        } else {
            buffer_append_format(&escaped, "%%%02X", (unsigned char)*text);
        }
    }
    return buffer_take(&escaped);
}
