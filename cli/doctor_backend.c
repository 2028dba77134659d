/* doctor_backend.c - whose backend is looked at? That of the Terminals that runs: `make run` says
 * TERMINALS_BACKEND=local to what it starts, and nobody says it to the second shell, in which somebody asks what is
 * wrong. */
#include <stdlib.h>
#include <string.h>

#include "cli/doctor_checks.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/ipc_client.h"

#define ANSWER_MS 5000

/* What the provisioner says of its settings. NULL: nothing. The caller puts it. */
static struct json_object *running_config(const struct settings *settings) {
    cleanup_buffer struct buffer path = {0};
    struct error err = {0};
    if (!buffer_append_format(&path, "%s/provisioner.sock", settings->run_dir)) {
        return NULL;
    }
    struct ipc_client *client = ipc_client_new(path.data);
    struct json_object *request = client == NULL ? NULL : ipc_request("config");
    struct json_object *answer = request == NULL ? NULL : ipc_client_call(client, request, ANSWER_MS, &err);
    ipc_client_free(client);
    return answer;
}

static bool take_settings_of(const char *backend, struct settings *settings) {
    struct error err = {0};
    struct settings loaded;
    if (setenv("TERMINALS_BACKEND", backend, 1) != 0 || !settings_load(&loaded, NULL, &err)) {
        return false;
    }
    settings_free(settings);
    *settings = loaded;
    return true;
}

void doctor_check_backend(struct doctor *doctor) {
    cleanup_json struct json_object *answer = doctor->has_provisioner ? running_config(doctor->settings) : NULL;
    cleanup_json struct json_object *here = settings_to_json(doctor->settings, READER_PROVISIONER);
    const char *running = json_get_string(json_get_object(answer, "config"), "backend");
    const char *said = json_get_string(here, "backend");
    if (running == NULL || said == NULL || strcmp(running, said) == 0) {
        return;
    }
    bool is_meant = getenv("TERMINALS_BACKEND") != NULL;
    if (!take_settings_of(running, doctor->settings)) {
        doctor->findings.is_incomplete = true;
        return;
    }
    findings_add(&doctor->findings, "backend", is_meant ? FINDING_WARN : FINDING_OK,
                 is_meant ? "start Terminals again if it shall have the one that is set here" : NULL,
                 "`%s` is what runs, and is looked at; here it would be `%s`", running, said);
}
