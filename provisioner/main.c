/* terminals-provisioner - owns all state: the database, the instances, both maps, idleness and the audit log. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/log.h"
#include "provisioner/commands.h"
#include "provisioner/serve.h"

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
                              : serve(&settings, backends[settings.backend], &err);
    if (!ok) {
        log_error(NULL, "%s", err.message);
    }
    settings_free(&settings);
    return ok ? 0 : 1;
}
