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
#include "provisioner/database_commands.h"
#include "provisioner/doctor.h"
#include "provisioner/gc.h"
#include "provisioner/key_rotation.h"
#include "provisioner/provisioner.h"
#include "provisioner/restore.h"
#include "provisioner/run_folder.h"

static const struct backend_operations *const backends[] = {
    [BACKEND_DOCKER] = &backend_docker,
    [BACKEND_KUBERNETES] = &backend_kubernetes,
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

/* --- what `terminals` has this program do besides ------------------------------------------------------------------
 */

/* `arguments` follow the flag, and end with NULL. */
static bool rotate_key(const struct settings *settings, char **arguments, struct error *err) {
    size_t count = 0;
    bool changed = key_rotation_run_alone(settings, backends[settings->backend], arguments[0], &count, err);
    if (changed) {
        printf("resealed=%zu\n", count);
    }
    return changed;
}

static bool run_database_command(const struct settings *settings, char **arguments, struct error *err) {
    return database_command_run(settings, arguments[0], arguments[1], err);
}

static bool look(const struct settings *settings, char **arguments, struct error *err) {
    (void)arguments;
    return doctor_print(settings, err);
}

static bool clear(const struct settings *settings, char **arguments, struct error *err) {
    (void)arguments;
    return gc_run_alone(settings, backends[settings->backend], err);
}

static bool back_up(const struct settings *settings, char **arguments, struct error *err) {
    return backup_run(settings, arguments[0], arguments[1] != NULL, err);
}

static bool may_restore(const struct settings *settings, char **arguments, struct error *err) {
    return restore_check(settings, arguments[0] != NULL, err);
}

static bool restore(const struct settings *settings, char **arguments, struct error *err) {
    return restore_run(settings, arguments[0] != NULL, err);
}

static bool serve_requests(const struct settings *settings, char **arguments, struct error *err) {
    (void)arguments;
    return serve(settings, err);
}

static const struct mode {
    const char *flag; /* NULL: none */
    int least;        /* arguments after it */
    int most;
    bool (*run)(const struct settings *settings, char **arguments, struct error *err);
} modes[] = {
    {NULL, 0, 0, serve_requests},
    {"--rotate-key", 0, 1, rotate_key},
    {"--database", 1, 2, run_database_command},
    {"--doctor", 0, 0, look},
    {"--gc", 0, 0, clear},
    {"--backup", 1, 2, back_up},
    {"--may-restore", 0, 1, may_restore},
    {"--restore", 0, 1, restore},
};

static const struct mode *find_mode(int argc, char **argv) {
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        int rest = argc - 2;
        if (modes[i].flag == NULL
                ? argc == 1
                : argc > 1 && strcmp(argv[1], modes[i].flag) == 0 && rest >= modes[i].least && rest <= modes[i].most) {
            return &modes[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    struct settings settings;
    struct error err = {0};
    const struct mode *mode = find_mode(argc, argv);
    if (mode == NULL) {
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
    bool ok = mode->run(&settings, argc < 2 ? argv + 1 : argv + 2, &err);
    if (!ok) {
        log_error(NULL, "%s", err.message);
    }
    settings_free(&settings);
    return ok ? 0 : 1;
}
