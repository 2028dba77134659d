/* terminals-operator - makes pods, services, secrets and claims of `Terminal` resources, and lets sleep what nobody
 * uses.
 *
 * SIGTERM and SIGINT give the lease back, so that another operator leads at once. Instances run on. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "provisioner/operator/controller.h"

#define RELEASE_TIMEOUT_S 2
#define IDENTITY_SIZE     256

static void on_released(void *argument) {
    event_base_loopbreak(argument);
}

static void on_signal(evutil_socket_t signal_number, short what, void *argument) {
    struct controller *controller = argument;
    const struct timeval patience = {.tv_sec = RELEASE_TIMEOUT_S};
    (void)signal_number;
    (void)what;
    event_base_loopexit(controller->base, &patience);
    lease_release(controller->lease, on_released, controller->base);
}

static bool run(struct controller *controller, struct error *err) {
    struct event *sigterm = evsignal_new(controller->base, SIGTERM, on_signal, controller);
    struct event *sigint = evsignal_new(controller->base, SIGINT, on_signal, controller);
    bool ok = sigterm != NULL && sigint != NULL && event_add(sigterm, NULL) == 0 && event_add(sigint, NULL) == 0 &&
              event_base_dispatch(controller->base) >= 0;
    if (sigterm != NULL) {
        event_free(sigterm);
    }
    if (sigint != NULL) {
        event_free(sigint);
    }
    return ok || error_set(err, ERROR_INTERNAL, "run the event loop");
}

static bool serve(const struct settings *settings, struct error *err) {
    struct controller controller;
    char identity[IDENTITY_SIZE] = "";
    /* In a pod both are its name, which no other pod has at the same time. */
    const char *name = getenv("HOSTNAME");
    if (name == NULL && gethostname(identity, sizeof identity - 1) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "read this host's name");
    }
    struct event_base *base = event_base_new();
    if (base == NULL) {
        return error_set(err, ERROR_INTERNAL, "open the event loop");
    }
    bool ok =
        controller_open(&controller, settings, name == NULL ? identity : name, base, err) && run(&controller, err);
    controller_close(&controller);
    event_base_free(base);
    return ok;
}

int main(int argc, char **argv) {
    struct settings settings;
    struct error err = {0};
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: terminals-operator\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!settings_load(&settings, NULL, &err)) {
        fprintf(stderr, "terminals-operator: %s\n", err.message);
        return 2;
    }
    settings_configure_log(&settings, "operator");
    bool ok = serve(&settings, &err);
    if (!ok) {
        log_error(NULL, "%s", err.message);
    }
    settings_free(&settings);
    return ok ? 0 : 1;
}
