/* terminals-provisioner - owns all state: the database, the instances, both maps, idleness and the audit log. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/log.h"
#include "provisioner/database_commands.h"
#include "provisioner/key_rotation.h"
#include "provisioner/serve.h"

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

/* `--rotate-key [FILE]`: what `terminals db rotate-key` runs where no provisioner does. */
static bool rotate_key(const struct settings *settings, const char *new_key_file, struct error *err) {
    size_t count = 0;
    bool changed = key_rotation_run_alone(settings, backends[settings->backend], new_key_file, &count, err);
    if (changed) {
        printf("resealed=%zu\n", count);
    }
    return changed;
}

int main(int argc, char **argv) {
    struct settings settings;
    struct error err = {0};
    bool rotates = argc >= 2 && argc <= 3 && strcmp(argv[1], "--rotate-key") == 0;
    bool commands = argc >= 3 && argc <= 4 && strcmp(argv[1], "--database") == 0;
    if (argc > 1 && !rotates && !commands) {
        fprintf(stderr, "usage: terminals-provisioner [--rotate-key [FILE] | --database COMMAND [VERSION]]\n");
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
    bool ok = rotates    ? rotate_key(&settings, argv[2], &err)
              : commands ? database_command_run(&settings, argv[2], argv[3], &err)
                         : serve(&settings, backends[settings.backend], &err);
    if (!ok) {
        log_error(NULL, "%s", err.message);
    }
    settings_free(&settings);
    return ok ? 0 : 1;
}
