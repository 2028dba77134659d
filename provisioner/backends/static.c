/* static.c - the `static` backend: one Open Terminal that runs already and that every user shares. Nothing is started
 * and nothing is stopped; a start is the question whether it answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uthash.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backend.h"
#include "provisioner/health_probe.h"
#include "provisioner/http_call.h"

#define REFERENCE           "static"
#define ID_SIZE             65
#define CHECK_TIMEOUT_MS    2000
#define CONNECT_TIMEOUT_MS  250 /* for each of several addresses */
#define RESOLVE_PAUSE_MS    5000
#define DOCUMENT_TIMEOUT_MS 10000
#define DOCUMENT_MAX_BYTES  (4 * 1024 * 1024)

struct backend {
    struct event_base *base;
    struct backend_events events;
    char *host;
    struct instance_address address; /* of the one instance; the key included */
    int64_t resolved_again_ms;       /* monotonic */
    int start_timeout_ms;
    struct static_start *starts; /* by instance id */
    struct static_check *checks;
    struct static_document *documents;
};

/* A start, or adoption, whose answer is awaited. */
struct static_start {
    struct backend *backend;
    char id[ID_SIZE];
    struct health_probe *probe;
    UT_hash_handle hh;
};

struct static_check {
    struct backend *backend;
    char id[ID_SIZE];
    struct health_probe *probe;
    void (*checked)(void *argument, bool alive);
    void *argument;
    struct static_check *next;
};

struct static_document {
    struct backend *backend;
    struct http_call *get;
    void (*done)(void *argument, const char *document);
    void *argument;
    struct static_document *next;
};

/* --- opening ------------------------------------------------------------------------------------------------------ */

static bool takes_connections(const struct addrinfo *address) {
    cleanup_close int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    int problem = 0;
    socklen_t length = sizeof problem;
    if (fd < 0 || (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)) {
        return false;
    }
    return poll(&waiting, 1, CONNECT_TIMEOUT_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length) == 0 &&
           problem == 0;
}

/* Asks the resolver, which may take seconds: at start, and when the address known so far does not answer. Of several
 * addresses the first one that takes connections is it: `localhost` is ::1 and 127.0.0.1, and many servers listen on
 * one. Where none does, the instance is down and will most likely be back where it was. */
static bool resolve(struct backend *backend, struct error *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", backend->address.port);
    int result = getaddrinfo(backend->host, port, &hints, &found);
    if (result == 0) {
        const struct addrinfo *chosen = found;
        while (found->ai_next != NULL && chosen != NULL && !takes_connections(chosen)) {
            chosen = chosen->ai_next;
        }
        if (chosen != NULL || backend->address.host[0] == '\0') {
            chosen = chosen == NULL ? found : chosen;
            result = getnameinfo(chosen->ai_addr, chosen->ai_addrlen, backend->address.host,
                                 sizeof backend->address.host, NULL, 0, NI_NUMERICHOST);
        }
        freeaddrinfo(found);
    }
    if (result != 0) {
        return error_set(err, ERROR_BACKEND, "find the address of TERMINALS_STATIC_HOST `%s`: %s", backend->host,
                         gai_strerror(result));
    }
    return true;
}

/* It does not answer: perhaps it has moved, and the next start shall look there. The event loop stands still meanwhile,
 * so not for everybody who meets it down. */
static void resolve_again(struct backend *backend) {
    struct error err;
    if (clock_monotonic_ms() - backend->resolved_again_ms < RESOLVE_PAUSE_MS) {
        return;
    }
    if (!resolve(backend, &err)) {
        log_warning(NULL, "%s", err.message);
    }
    backend->resolved_again_ms = clock_monotonic_ms();
}

static bool take_key(struct backend *backend, const char *key, struct error *err) {
    key = key == NULL ? "" : key;
    for (const char *at = key; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return error_set(err, ERROR_INVALID, "TERMINALS_STATIC_API_KEY holds a character no header can");
        }
    }
    if (strlen(key) >= sizeof backend->address.key) {
        return error_set(err, ERROR_INVALID, "TERMINALS_STATIC_API_KEY is longer than %zu characters",
                         sizeof backend->address.key - 1);
    }
    strcpy(backend->address.key, key);
    return true;
}

static void static_close(struct backend *backend) {
    struct static_start *start = backend->starts;
    HASH_CLEAR(hh, backend->starts); /* which leaves the starts and their order alone */
    while (start != NULL) {
        struct static_start *next = start->hh.next;
        health_probe_cancel(start->probe);
        free(start);
        start = next;
    }
    while (backend->checks != NULL) {
        struct static_check *check = backend->checks;
        backend->checks = check->next;
        health_probe_cancel(check->probe);
        free(check);
    }
    while (backend->documents != NULL) {
        struct static_document *document = backend->documents;
        backend->documents = document->next;
        http_call_cancel(document->get);
        free(document);
    }
    explicit_bzero(&backend->address, sizeof backend->address);
    free(backend->host);
    free(backend);
}

static struct backend *static_open(const struct settings *settings, struct event_base *base,
                                   const struct backend_events *events, struct error *err) {
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    backend->base = base;
    backend->events = *events;
    backend->address.port = (uint16_t)settings->static_port;
    backend->start_timeout_ms = (int)settings->start_timeout_seconds * 1000;
    backend->resolved_again_ms = clock_monotonic_ms() - RESOLVE_PAUSE_MS;
    backend->host = strdup(settings->static_host);
    if (backend->host == NULL || !take_key(backend, settings->static_api_key, err) || !resolve(backend, err)) {
        static_close(backend);
        return NULL;
    }
    if (backend->address.key[0] == '\0') {
        log_warning(NULL, "TERMINALS_STATIC_API_KEY is not set: the instance must take requests without a key");
    }
    return backend;
}

static struct health_probe *probe(const struct backend *backend, int timeout_ms, health_probe_done *done,
                                  void *argument) {
    const struct instance_address *address = &backend->address;
    return health_probe_start(backend->base, address->host, address->port,
                              address->key[0] == '\0' ? NULL : address->key, timeout_ms, done, argument);
}

/* --- start and stop ----------------------------------------------------------------------------------------------- */

static void raise_failed(struct backend *backend, const char *id, const struct error *err) {
    struct error unknown = *err;
    unknown.code = unknown.code == ERROR_NONE ? ERROR_BACKEND : unknown.code;
    backend->events.failed(backend->events.owner, id, &unknown);
}

static void on_started(void *argument, const struct error *err, bool is_refused) {
    (void)is_refused;
    struct static_start *start = argument;
    struct backend *backend = start->backend;
    char id[ID_SIZE];
    memcpy(id, start->id, sizeof id);
    HASH_DEL(backend->starts, start);
    free(start);
    if (err == NULL) {
        backend->events.ready(backend->events.owner, id, &backend->address);
        return;
    }
    resolve_again(backend);
    raise_failed(backend, id, err);
}

static void static_adopt(struct backend *backend, const struct instance_spec *spec, const char *reference) {
    struct static_start *start = NULL;
    struct error err = {0};
    (void)reference;
    HASH_FIND_STR(backend->starts, spec->instance_id, start);
    if (start != NULL || strlen(spec->instance_id) >= ID_SIZE) {
        error_set(&err, ERROR_CONFLICT, "it is being started already");
        raise_failed(backend, spec->instance_id, &err);
        return;
    }
    start = calloc(1, sizeof *start);
    if (start != NULL) {
        start->backend = backend;
        strcpy(start->id, spec->instance_id);
        start->probe = probe(backend, backend->start_timeout_ms, on_started, start);
    }
    if (start == NULL || start->probe == NULL) {
        free(start);
        error_set(&err, ERROR_INTERNAL, "out of memory or descriptors");
        raise_failed(backend, spec->instance_id, &err);
        return;
    }
    HASH_ADD_STR(backend->starts, id, start);
}

static void static_start(struct backend *backend, const struct instance_spec *spec) {
    struct error err = {0};
    if (backend->events.created(backend->events.owner, spec->instance_id, REFERENCE, &err)) {
        static_adopt(backend, spec, REFERENCE);
    } else {
        raise_failed(backend, spec->instance_id, &err);
    }
}

static void static_stop(struct backend *backend, const char *instance_id) {
    struct static_start *start = NULL;
    HASH_FIND_STR(backend->starts, instance_id, start);
    if (start != NULL) {
        HASH_DEL(backend->starts, start);
        health_probe_cancel(start->probe);
        free(start);
    }
    backend->events.stopped(backend->events.owner, instance_id);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void on_checked(void *argument, const struct error *err, bool is_refused) {
    (void)is_refused;
    struct static_check *check = argument;
    struct backend *backend = check->backend;
    struct static_check **link = &backend->checks;
    while (*link != check) {
        link = &(*link)->next;
    }
    *link = check->next;
    if (err != NULL) {
        resolve_again(backend);
        backend->events.gone(backend->events.owner, check->id, err->message);
    }
    check->checked(check->argument, err == NULL);
    free(check);
}

static void static_check(struct backend *backend, const char *instance_id, void (*checked)(void *argument, bool alive),
                         void *argument) {
    struct static_check *check = calloc(1, sizeof *check);
    if (check != NULL) {
        check->probe = probe(backend, CHECK_TIMEOUT_MS, on_checked, check);
    }
    if (check == NULL || check->probe == NULL) {
        free(check);
        checked(argument, true); /* we cannot look: no reason to give up what was fine a moment ago */
        return;
    }
    check->backend = backend;
    check->checked = checked;
    check->argument = argument;
    snprintf(check->id, sizeof check->id, "%s", instance_id);
    check->next = backend->checks;
    backend->checks = check;
}

static void static_sweep(struct backend *backend) {
    (void)backend; /* nothing is ours to end */
}

static void on_document(void *argument, int status, const char *body, size_t length, const char *failure) {
    struct static_document *document = argument;
    struct static_document **link = &document->backend->documents;
    (void)length;
    while (*link != document) {
        link = &(*link)->next;
    }
    *link = document->next;
    if (status != 200) {
        log_warning(NULL, "the instance's /openapi.json: %s", failure == NULL ? "not found" : failure);
    }
    document->done(document->argument, status == 200 ? body : NULL);
    free(document);
}

/* The operator's own instance, not a tenant's: its document can be trusted. */
static void static_openapi(struct backend *backend, void (*done)(void *argument, const char *document),
                           void *argument) {
    const struct http_call_request request = {
        .host = backend->address.host,
        .port = backend->address.port,
        .path = "/openapi.json",
        .key = backend->address.key[0] == '\0' ? NULL : backend->address.key,
        .timeout_ms = DOCUMENT_TIMEOUT_MS,
        .body_max_bytes = DOCUMENT_MAX_BYTES,
    };
    struct static_document *document = calloc(1, sizeof *document);
    if (document != NULL) {
        *document = (struct static_document){.backend = backend, .done = done, .argument = argument};
        document->get = http_call_start(backend->base, &request, on_document, document);
    }
    if (document == NULL || document->get == NULL) {
        free(document);
        done(argument, NULL);
        return;
    }
    document->next = backend->documents;
    backend->documents = document;
}

const struct backend_operations backend_static = {
    .name = "static",
    .open = static_open,
    .close = static_close,
    .start = static_start,
    .adopt = static_adopt,
    .stop = static_stop,
    .check = static_check,
    .sweep = static_sweep,
    .openapi = static_openapi,
    .shares_one_instance = true,
};
