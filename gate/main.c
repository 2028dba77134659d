/* terminals-gate: holds a request while others decide, then moves its bytes. See DESIGN.md, "A request, cold" and "A
 * terminal WebSocket"; docs/internals.md says how it talks to the others. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/log.h"
#include "common/settings.h"
#include "gate/endpoint.h"
#include "gate/gate.h"

static void on_signal(evutil_socket_t signal_number, short what, void *context) {
    (void)signal_number;
    (void)what;
    gate_stop(context);
}

/* Two descriptors a connection: take what the system allows. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            log_warning(NULL, "the limit of open files stays as it is");
        }
    }
}

static bool serve(struct event_base *base, const struct settings *settings, struct error *err) {
    const struct gate_limits limits = GATE_LIMITS_DEFAULT;
    struct gate *gate = gate_new(base, settings, &limits, err);
    bool is_good = gate != NULL && gate_listen(gate, err);
    struct event *on_term = is_good ? evsignal_new(base, SIGTERM, on_signal, gate) : NULL;
    struct event *on_int = is_good ? evsignal_new(base, SIGINT, on_signal, gate) : NULL;
    if (is_good &&
        (on_term == NULL || on_int == NULL || event_add(on_term, NULL) != 0 || event_add(on_int, NULL) != 0)) {
        is_good = error_set(err, ERROR_INTERNAL, "watch for signals");
    }
    if (is_good) {
        log_info(NULL, "ready");
        is_good = event_base_dispatch(base) >= 0 || error_set(err, ERROR_INTERNAL, "the event loop failed");
    }
    if (on_term != NULL) {
        event_free(on_term);
    }
    if (on_int != NULL) {
        event_free(on_int);
    }
    gate_free(gate);
    return is_good;
}

int main(void) {
    struct settings settings;
    struct error err = {0};
    if (!settings_load(&settings, NULL, &err)) {
        fprintf(stderr, "terminals-gate: %s\n", err.message);
        return 1;
    }
    settings_configure_log(&settings, "gate");
    signal(SIGPIPE, SIG_IGN); /* splice(2) has no MSG_NOSIGNAL */
    raise_descriptor_limit();

    struct event_base *base = endpoint_base_new();
    bool is_good = base != NULL ? serve(base, &settings, &err) : error_set(&err, ERROR_INTERNAL, "no event loop");
    if (!is_good) {
        log_error(NULL, "%s", err.message);
    }
    if (base != NULL) {
        event_base_free(base);
    }
    libevent_global_shutdown();
    settings_free(&settings);
    return is_good ? 0 : 1;
}
