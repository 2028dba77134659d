#include "provisioner/health_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/secret.h"
#include "provisioner/http_call.h"

#define PAUSE_MIN_MS 1
#define PAUSE_MAX_MS 50
#define TRY_MAX_MS   5000 /* for one answer: an instance that hangs once may answer the next time */

struct health_probe {
    struct event_base *base;
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    char *key; /* secret; NULL: none */
    int64_t started_ms;
    int64_t deadline_ms;
    struct event *pause;
    struct http_call *get; /* the try under way, or NULL during a pause */
    char last_failure[128];
    bool is_refused;  /* the last try was */
    bool is_our_lack; /* it was not made, or failed, for what we lack */
    health_probe_done *done;
    void *argument;
};

void health_probe_cancel(struct health_probe *probe) {
    if (probe == NULL) {
        return;
    }
    http_call_cancel(probe->get);
    if (probe->pause != NULL) {
        event_free(probe->pause);
    }
    secret_free(probe->key);
    free(probe);
}

static void finish(struct health_probe *probe, const struct error *err) {
    health_probe_done *done = probe->done;
    void *argument = probe->argument;
    bool is_refused = probe->is_refused;
    health_probe_cancel(probe);
    done(argument, err, is_refused);
}

static void pause_or_give_up(struct health_probe *probe) {
    int64_t now = clock_monotonic_ms();
    int64_t pause_ms = (now - probe->started_ms) / 8;
    pause_ms = pause_ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms;
    const struct timeval pause = {pause_ms / 1000, pause_ms % 1000 * 1000};
    if (now + pause_ms < probe->deadline_ms && evtimer_add(probe->pause, &pause) == 0) {
        return;
    }
    struct error err;
    error_set(&err, probe->is_our_lack ? ERROR_CAPACITY : ERROR_TIMEOUT,
              "%s:%u did not answer /health within %lld ms: %s", probe->host, probe->port,
              (long long)(now - probe->started_ms), probe->last_failure);
    error_veil(&err, "The instance did not answer in time");
    finish(probe, &err);
}

static bool is_our_lack(const char *failure) {
    static const int problems[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
        if (strcmp(failure, strerrordesc_np(problems[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void on_answer(void *argument, int status, const char *body, size_t length, const char *failure) {
    struct health_probe *probe = argument;
    (void)body;
    (void)length;
    probe->get = NULL;
    probe->is_refused = status == 0 && strcmp(failure, HTTP_CALL_REFUSED) == 0;
    probe->is_our_lack = status == 0 && is_our_lack(failure);
    if (status == 200) {
        finish(probe, NULL);
        return;
    }
    if (status == 0) {
        snprintf(probe->last_failure, sizeof probe->last_failure, "%s", failure);
    } else {
        snprintf(probe->last_failure, sizeof probe->last_failure, "status %d", status);
    }
    pause_or_give_up(probe);
}

static bool try_once(struct health_probe *probe) {
    int64_t left_ms = probe->deadline_ms - clock_monotonic_ms();
    left_ms = left_ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : left_ms > TRY_MAX_MS ? TRY_MAX_MS : left_ms;
    const struct http_call_request request = {
        .host = probe->host,
        .port = probe->port,
        .path = "/health",
        .key = probe->key,
        .timeout_ms = (int)left_ms,
    };
    probe->get = http_call_start(probe->base, &request, on_answer, probe);
    return probe->get != NULL;
}

static void on_pause_over(evutil_socket_t fd, short what, void *argument) {
    struct health_probe *probe = argument;
    (void)fd;
    (void)what;
    if (!try_once(probe)) { /* out of descriptors or memory: perhaps not for long */
        probe->is_refused = false;
        probe->is_our_lack = true;
        snprintf(probe->last_failure, sizeof probe->last_failure, "cannot connect");
        pause_or_give_up(probe);
    }
}

struct health_probe *health_probe_start(struct event_base *base, const char *host, uint16_t port, const char *key,
                                        int timeout_ms, health_probe_done *done, void *argument) {
    struct health_probe *probe = calloc(1, sizeof *probe);
    if (probe == NULL) {
        return NULL;
    }
    probe->base = base;
    snprintf(probe->host, sizeof probe->host, "%s", host);
    probe->port = port;
    probe->key = key == NULL ? NULL : strdup(key);
    probe->started_ms = clock_monotonic_ms();
    probe->deadline_ms = probe->started_ms + timeout_ms;
    probe->done = done;
    probe->argument = argument;
    probe->pause = evtimer_new(base, on_pause_over, probe);
    if ((key != NULL && probe->key == NULL) || probe->pause == NULL || !try_once(probe)) {
        health_probe_cancel(probe);
        return NULL;
    }
    return probe;
}
