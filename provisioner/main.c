/* terminals-provisioner - owns all state: the database, the instances, both maps, idleness and the audit log.
 *
 * SIGTERM leaves the instances running for a successor to adopt; SIGINT stops them first. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/commands.h"
#include "provisioner/provisioner.h"
#include "provisioner/run_folder.h"

static const struct backend_operations *const backends[] = {
    [BACKEND_DOCKER] = &backend_docker,
    [BACKEND_KUBERNETES] = &backend_kubernetes,
    [BACKEND_KUBERNETES_OPERATOR] = &backend_kubernetes_operator,
    [BACKEND_LOCAL] = &backend_local,
    [BACKEND_STATIC] = &backend_static,
};

/* Every peer, instance and probe is a descriptor; the soft limit of 1,024 is for programs that use select(2). */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        log_warning(NULL, "raise the limit of open files to %llu: not allowed", (unsigned long long)limit.rlim_max);
    }
}

static void on_sigterm(evutil_socket_t signal_number, short what, void *argument) {
    (void)signal_number;
    (void)what;
    struct provisioner *provisioner = argument;
    if (provisioner->is_shutting_down) {
        return; /* it is stopping the instances, which takes a bounded time */
    }
    log_info(NULL, "terminated: instances are left running");
    event_base_loopbreak(provisioner->base);
}

static void on_sigint(evutil_socket_t signal_number, short what, void *argument) {
    (void)signal_number;
    (void)what;
    struct provisioner *provisioner = argument;
    if (!provisioner->is_shutting_down) {
        log_info(NULL, "interrupted: all instances are being stopped");
    }
    provisioner_stop_all(provisioner);
}

/* The signals are watched only while everything is open; one that comes before ends us as if we had been killed. */
static bool run(struct provisioner *provisioner, struct error *err) {
    struct event *sigterm = evsignal_new(provisioner->base, SIGTERM, on_sigterm, provisioner);
    struct event *sigint = evsignal_new(provisioner->base, SIGINT, on_sigint, provisioner);
    bool ok = sigterm != NULL && sigint != NULL && event_add(sigterm, NULL) == 0 && event_add(sigint, NULL) == 0 &&
              event_base_dispatch(provisioner->base) >= 0;
    if (!ok) {
        error_set(err, ERROR_INTERNAL, "run the event loop");
    }
    if (sigterm != NULL) {
        event_free(sigterm);
    }
    if (sigint != NULL) {
        event_free(sigint);
    }
    return ok;
}

static bool serve(const struct settings *settings, struct error *err) {
    struct provisioner provisioner;
    cleanup_close int lock = run_folder_lock(settings->run_dir, err);
    struct event_base *base = lock < 0 ? NULL : event_base_new();
    if (base == NULL) {
        return lock < 0 ? false : error_set(err, ERROR_INTERNAL, "open the event loop");
    }
    bool ok = provisioner_open(&provisioner, settings, backends[settings->backend], base, err);
    if (ok) {
        log_info(NULL, "ready: backend %s, run folder `%s`", provisioner.operations->name, settings->run_dir);
        ok = run(&provisioner, err);
    }
    provisioner_close(&provisioner);
    event_base_free(base);
    return ok;
}

int main(int argc, char **argv) {
    struct settings settings;
    struct error err = {0};
    const struct command *command = argc > 1 ? command_find(argc - 1, argv + 1) : NULL;
    if (argc > 1 && command == NULL) {
        fputs("usage: terminals-provisioner (what follows is said by `terminals`: db, doctor, gc, backup, restore)\n",
              stderr);
        return 2;
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    if (!settings_load(&settings, NULL, &err)) {
        fprintf(stderr, "terminals-provisioner: %s\n", err.message);
        return 2;
    }
    settings_configure_log(&settings, "provisioner");
    raise_descriptor_limit();
    bool ok = command != NULL ? command_run(command, &settings, backends[settings.backend], argv + 2, &err)
                              : serve(&settings, &err);
    if (!ok) {
        log_error(NULL, "%s", err.message);
    }
    settings_free(&settings);
    return ok ? 0 : 1;
}
