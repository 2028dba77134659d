/* terminals-api: says who a request is (FastCGI authorizer) and answers the admin API (FastCGI responder).
 *
 * Settings, sockets, threads, wait for a signal, close. */
#include <curl/curl.h>
#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/ipc_client.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/unix_listener.h"
#include "fcgi-api/auth_failures.h"
#include "fcgi-api/authorizer.h"
#include "fcgi-api/identity_announcer.h"
#include "fcgi-api/key_announcer.h"
#include "fcgi-api/open_webui.h"
#include "fcgi-api/openapi.h"
#include "fcgi-api/responder.h"
#include "fcgi-api/worker_pool.h"

#define AUTH_THREADS             4
#define ADMIN_THREADS            8
#define OPERATIONS_EXTRA_THREADS 4   /* stops and deletions go on while all starts are taken */
#define OPERATIONS_THREADS_MAX   256 /* libfcgi uses select(2): every descriptor must stay below 1024 */
/* Requests that may wait for Open WebUI. HAProxy has 64 connections to each of the two responders: some must be left
 * over for those who do not wait. */
#define AUTH_PUT_ASIDE_MAX       192
#define ADMIN_PUT_ASIDE_MAX      40
#define OPERATIONS_PUT_ASIDE_MAX 24
#define FINISH_MS                2000
#define PATH_SIZE                4096

static void answer_authorizer(const struct api *api, const struct provisioner *provisioner, struct request *request,
                              struct answer *answer) {
    (void)provisioner;
    authorizer_answer(api, request, answer);
}

static void answer_admin(const struct api *api, const struct provisioner *provisioner, struct request *request,
                         struct answer *answer) {
    responder_answer(api, provisioner, false, request, answer);
}

static void answer_operations(const struct api *api, const struct provisioner *provisioner, struct request *request,
                              struct answer *answer) {
    responder_answer(api, provisioner, true, request, answer);
}

/* The three sockets. A start occupies a thread of the third only. */
enum { AUTH, ADMIN, OPERATIONS, POOL_COUNT };

static const struct {
    const char *name;
    worker_answer *answer;
    size_t put_aside_max;
} sockets[POOL_COUNT] = {
    [AUTH] = {"api-auth", answer_authorizer, AUTH_PUT_ASIDE_MAX},
    [ADMIN] = {"api-admin", answer_admin, ADMIN_PUT_ASIDE_MAX},
    [OPERATIONS] = {"api-operations", answer_operations, OPERATIONS_PUT_ASIDE_MAX},
};

/* Everything that lives as long as the process. */
struct process {
    struct settings settings;
    struct api api;
    char *openapi;
    char provisioner_path[PATH_SIZE];
    int stop_fd;
    int listeners[POOL_COUNT];
    struct worker_pool *pools[POOL_COUNT];
    struct ipc_client *announcer_client;
    struct ipc_client *failures_client;
    struct ipc_client *identities_client;
    pthread_t announcer;
    pthread_t failures;
    pthread_t identities; /* where users have tokens */
    pthread_t open_webui; /* where it is asked about them */
};

static struct json_object *call_provisioner(void *argument, struct json_object *request, int timeout_ms,
                                            struct error *err) {
    return ipc_client_call(argument, request, timeout_ms, err);
}

static void *run_announcer(void *argument) {
    struct process *process = argument;
    key_announcer_run(&process->api.authenticator, process->announcer_client, process->stop_fd);
    return NULL;
}

static void *run_failures(void *argument) {
    struct process *process = argument;
    struct provisioner provisioner = {call_provisioner, process->failures_client};
    auth_failures_run(process->api.auth_failures, &provisioner);
    return NULL;
}

static void *run_identities(void *argument) {
    struct process *process = argument;
    struct provisioner provisioner = {call_provisioner, process->identities_client};
    identity_announcer_run(process->api.authenticator.announcer, &provisioner);
    return NULL;
}

static void *run_open_webui(void *argument) {
    const struct process *process = argument;
    open_webui_run(process->api.authenticator.open_webui);
    return NULL;
}

static bool prepare(struct process *process, struct error *err) {
    const char *run_dir = process->settings.run_dir;
    int length = snprintf(process->provisioner_path, PATH_SIZE, "%s/provisioner.sock", run_dir);
    if (length < 0 || length >= PATH_SIZE) {
        return error_set(err, ERROR_INVALID, "TERMINALS_RUN_DIR is too long");
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) { /* while there is one thread */
        return error_set(err, ERROR_INTERNAL, "libcurl does not start");
    }
    process->api.settings = &process->settings;
    process->api.openapi = process->openapi = openapi_built_in(err);
    if (process->openapi == NULL || !authenticator_init(&process->api.authenticator, &process->settings, err)) {
        return false;
    }
    process->api.auth_failures = auth_failures_new();
    process->announcer_client = ipc_client_new(process->provisioner_path);
    process->failures_client = ipc_client_new(process->provisioner_path);
    process->identities_client = ipc_client_new(process->provisioner_path);
    if (process->api.auth_failures == NULL || process->announcer_client == NULL || process->failures_client == NULL ||
        process->identities_client == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory, or TERMINALS_RUN_DIR is too long for a socket");
    }
    process->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return process->stop_fd >= 0 || error_set_errno(err, ERROR_INTERNAL, "make an eventfd");
}

static bool open_sockets(struct process *process, struct error *err) {
    for (int i = 0; i < POOL_COUNT; i++) {
        char path[PATH_SIZE + 32];
        snprintf(path, sizeof path, "%s/%s.sock", process->settings.run_dir, sockets[i].name);
        process->listeners[i] = unix_listener_open(sockets[i].name, path, err);
        if (process->listeners[i] < 0) {
            return false;
        }
    }
    return true;
}

static size_t thread_count(const struct settings *settings, int pool) {
    size_t wanted = (size_t)settings->start_concurrency + OPERATIONS_EXTRA_THREADS;
    size_t operations = wanted < OPERATIONS_THREADS_MAX ? wanted : OPERATIONS_THREADS_MAX;
    return pool == AUTH ? AUTH_THREADS : pool == ADMIN ? ADMIN_THREADS : operations;
}

static bool start_threads(struct process *process, struct error *err) {
    int problem = pthread_create(&process->announcer, NULL, run_announcer, process);
    if (problem == 0) {
        problem = pthread_create(&process->failures, NULL, run_failures, process);
    }
    if (problem == 0 && process->api.authenticator.announcer != NULL) {
        problem = pthread_create(&process->identities, NULL, run_identities, process);
    }
    if (problem == 0 && process->api.authenticator.open_webui != NULL) {
        problem = pthread_create(&process->open_webui, NULL, run_open_webui, process);
    }
    if (problem != 0) {
        errno = problem;
        return error_set_errno(err, ERROR_INTERNAL, "start a thread");
    }
    for (int i = 0; i < POOL_COUNT; i++) {
        struct worker_pool_options options = {
            .name = sockets[i].name,
            .listener = process->listeners[i],
            .stop_fd = process->stop_fd,
            .threads = thread_count(&process->settings, i),
            .put_aside_max = sockets[i].put_aside_max,
            .answer = sockets[i].answer,
            .api = &process->api,
            .provisioner_path = process->provisioner_path,
        };
        process->pools[i] = worker_pool_start(&options, err);
        if (process->pools[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool join(pthread_t thread, int64_t deadline_ms) {
    struct timespec deadline = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &deadline) == 0;
}

/* Ends the threads; false if some are still at work when their time is up. Open WebUI comes first: it resumes what was
 * put aside, which the pools then answer or drop. */
static bool stop_threads(struct process *process) {
    const struct authenticator *authenticator = &process->api.authenticator;
    int64_t deadline_ms = clock_monotonic_ms() + FINISH_MS;
    open_webui_stop(authenticator->open_webui);
    if (authenticator->open_webui != NULL && !join(process->open_webui, deadline_ms)) {
        return false;
    }
    eventfd_write(process->stop_fd, 1);
    auth_failures_stop(process->api.auth_failures);
    identity_announcer_stop(authenticator->announcer);
    bool all = true;
    for (int i = 0; i < POOL_COUNT; i++) {
        all = worker_pool_join(process->pools[i], deadline_ms) && all;
    }
    all = join(process->announcer, deadline_ms) && all;
    all = (authenticator->announcer == NULL || join(process->identities, deadline_ms)) && all;
    return join(process->failures, deadline_ms) && all;
}

static void release(struct process *process) {
    for (int i = 0; i < POOL_COUNT; i++) {
        close(process->listeners[i]);
    }
    close(process->stop_fd);
    ipc_client_free(process->announcer_client);
    ipc_client_free(process->failures_client);
    ipc_client_free(process->identities_client);
    authenticator_free(&process->api.authenticator);
    auth_failures_free(process->api.auth_failures);
    free(process->openapi);
    settings_free(&process->settings);
    curl_global_cleanup();
}

int main(void) {
    static struct process process;
    struct error err = {0};
    if (!settings_load(&process.settings, NULL, &err)) {
        fprintf(stderr, "terminals-api: %s\n", err.message);
        return EXIT_FAILURE;
    }
    settings_configure_log(&process.settings, "api");

    /* Blocked before there are threads, which inherit it, so that only sigwait() below gets them. */
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);

    if (FCGX_Init() != 0 || !prepare(&process, &err) || !open_sockets(&process, &err) ||
        !start_threads(&process, &err)) {
        log_error(NULL, "cannot start: %s", err.code == ERROR_NONE ? "libfcgi does not" : err.message);
        _exit(EXIT_FAILURE); /* threads may run already */
    }
    log_info(NULL, "ready, authentication: %s", authenticator_mode(&process.api.authenticator));
    int signal_number = 0;
    sigwait(&ending, &signal_number);
    if (!stop_threads(&process)) {
        log_info(NULL, "ended with requests in flight");
        _exit(EXIT_SUCCESS);
    }
    release(&process);
    log_info(NULL, "ended");
    return EXIT_SUCCESS;
}
