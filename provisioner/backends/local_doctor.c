/* local_doctor.c - what the backends `local` and `static` need. */
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/remove_tree.h"
#include "provisioner/backends/bubblewrap.h"
#include "provisioner/backends/program.h"
#include "provisioner/doctor.h"
#include "provisioner/health_probe.h"

#define PROBE_MS 3000

static void remove_folder(const char *path) {
    static const atomic_bool never = false;
    struct error ignored;
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && remove_tree_contents(fd, &never, &ignored)) {
        rmdir(path);
    }
}

static void check_sandbox(const struct settings *settings, const char *binary, struct findings *findings) {
    static const char advice[] =
        "install bubblewrap and let it make user namespaces (kernel.unprivileged_userns_clone=1, "
        "or its AppArmor profile)";
    char folder[] = "/tmp/terminals-doctor.XXXXXX";
    struct bubblewrap sandbox = {0};
    struct error err = {0};
    if (settings->local_sandbox == SANDBOX_NONE) {
        findings_add(findings, "sandbox", FINDING_WARN,
                     "set TERMINALS_LOCAL_SANDBOX=auto, unless there is one user only",
                     "TERMINALS_LOCAL_SANDBOX=none: users can read and change each other's files");
        return;
    }
    if (mkdtemp(folder) == NULL) {
        findings_add(findings, "sandbox", FINDING_FAIL, "make room in /tmp", "no folder can be made in /tmp");
        return;
    }
    if (bubblewrap_open(&sandbox, folder, binary, "TERMINALS_DOCTOR", &err)) {
        findings_add(findings, "sandbox", FINDING_OK, NULL, "bubblewrap works");
        bubblewrap_close(&sandbox);
    } else {
        findings_add(findings, "sandbox", settings->local_sandbox == SANDBOX_BWRAP ? FINDING_FAIL : FINDING_WARN,
                     advice, "%s%s", err.message,
                     settings->local_sandbox == SANDBOX_BWRAP ? "" : ": users can read and change each other's files");
    }
    remove_folder(folder);
}

void doctor_look_at_local(const struct settings *settings, struct findings *findings) {
    cleanup_free char *binary = program_find(settings->local_binary);
    if (binary == NULL) {
        findings_add(findings, "instance", FINDING_FAIL, "set TERMINALS_LOCAL_BINARY to Open Terminal's program",
                     "TERMINALS_LOCAL_BINARY `%s` is neither beside our own programs nor in PATH",
                     settings->local_binary);
        return;
    }
    findings_add(findings, "instance", FINDING_OK, NULL, "`%s`", binary);
    check_sandbox(settings, binary, findings);
}

/* --- static ------------------------------------------------------------------------------------------------------- */

struct probe {
    struct event_base *base;
    struct error err; /* ERROR_NONE: it answers */
};

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    (void)is_refused;
    struct probe *probe = argument;
    probe->err = err == NULL ? (struct error){0} : *err;
    event_base_loopbreak(probe->base);
}

/* Its first IP address, as text. */
static bool resolve(const char *host, char *out, size_t size, struct error *err) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, NULL, &hints, &found);
    if (status == 0) {
        status = getnameinfo(found->ai_addr, found->ai_addrlen, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    return status == 0 || error_set(err, ERROR_INVALID, "%s", gai_strerror(status));
}

void doctor_look_at_static(const struct settings *settings, struct findings *findings) {
    char address[NI_MAXHOST];
    struct probe probe = {.base = event_base_new()};
    if (probe.base == NULL) {
        findings->is_incomplete = true;
        return;
    }
    if (resolve(settings->static_host, address, sizeof address, &probe.err)) {
        if (health_probe_start(probe.base, address, (uint16_t)settings->static_port, settings->static_api_key, PROBE_MS,
                               on_probed, &probe) == NULL) {
            error_set(&probe.err, ERROR_INTERNAL, "it cannot be asked");
        } else {
            event_base_dispatch(probe.base);
        }
    }
    bool answers = probe.err.code == ERROR_NONE;
    findings_add(findings, "instance", answers ? FINDING_OK : FINDING_FAIL,
                 answers ? NULL
                         : "start it, or look at TERMINALS_STATIC_HOST, TERMINALS_STATIC_PORT and "
                           "TERMINALS_STATIC_API_KEY",
                 "%s port %lld: %s", settings->static_host, (long long)settings->static_port,
                 answers ? "answers" : probe.err.message);
    event_base_free(probe.base);
}
