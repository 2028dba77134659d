/* doctor_processes.c - are our programs there, do they run, and does each answer on its socket? */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "cli/check.h"
#include "cli/doctor_checks.h"
#include "cli/executables.h"
#include "cli/haproxy_ask.h"
#include "cli/run_folder.h"
#include "common/cleanup.h"
#include "common/json.h"

#define HEALTH_SECONDS   10
#define HEALTH_MAX_BYTES 4096

static const char restart[] = "look at the log: `journalctl -u terminals`, or `docker-compose logs`; start it again";

/* --- nothing runs ------------------------------------------------------------------------------------------------- */

static void check_stopped(struct doctor *doctor) {
    struct executables executables;
    struct error err = {0};
    findings_add(&doctor->findings, "processes", FINDING_WARN, "`terminals serve` (or `systemctl start terminals`)",
                 "nothing runs in `%s`: what only a running Terminals can tell is not checked",
                 doctor->settings->run_dir);
    if (executables_find(&executables, &err)) {
        findings_add(&doctor->findings, "programs", FINDING_OK, NULL, "all there, with `%s` for HAProxy",
                     executables.haproxy_config);
        executables_free(&executables);
    } else {
        findings_add(&doctor->findings, "programs", FINDING_FAIL, "build or install them again: `make install`", "%s",
                     err.message);
    }
    err = (struct error){0};
    if (run_folder_check_port(doctor->settings, &err)) {
        findings_add(&doctor->findings, "port", FINDING_OK, NULL, "%lld on %s is free",
                     (long long)doctor->settings->port, doctor->settings->host);
    } else {
        findings_add(&doctor->findings, "port", FINDING_FAIL,
                     "stop who has it (`ss -ltnp`), or set TERMINALS_HOST and TERMINALS_PORT", "%s", err.message);
    }
}

/* --- health ------------------------------------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t count, void *argument) {
    struct buffer *body = argument;
    return body->length + size * count <= HEALTH_MAX_BYTES && buffer_append(body, data, size * count) ? size * count
                                                                                                      : 0;
}

static void say_health(struct doctor *doctor, long status, const struct buffer *body) {
    struct error err = {0};
    cleanup_json struct json_object *answer =
        json_parse_object(body->data == NULL ? "" : body->data, body->length, &err);
    const char *detail = json_get_string(answer, "detail");
    if (status == 200) {
        findings_add(&doctor->findings, "health", FINDING_OK, NULL, "requests are served");
    } else {
        findings_add(&doctor->findings, "health", FINDING_FAIL, "see the processes and the database in this list",
                     "`/health` is answered with %ld: %s", status, detail == NULL ? "no word why" : detail);
    }
}

static void check_health(struct doctor *doctor) {
    char path[512];
    cleanup_buffer struct buffer body = {0};
    CURL *curl = curl_easy_init();
    if (curl == NULL || snprintf(path, sizeof path, "%s/haproxy-local.sock", doctor->settings->run_dir) < 0) {
        doctor->findings.is_incomplete = true;
        return;
    }
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/health");
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, path);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)HEALTH_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (result != CURLE_OK) {
        findings_add(&doctor->findings, "health", FINDING_FAIL, restart, "HAProxy does not answer on `%s`: %s", path,
                     curl_easy_strerror(result));
        return;
    }
    say_health(doctor, status, &body);
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

void doctor_check_processes(struct doctor *doctor) {
    static const char *const ours[] = {"provisioner", "api", "gate"};
    struct error failures[3] = {0};
    struct error haproxy_failure = {0};
    bool answers[3];
    cleanup_buffer struct buffer pid = {0};
    for (int i = 0; i < 3; i++) {
        answers[i] = check_ask(doctor->settings->run_dir, ours[i], &failures[i]);
        doctor->is_running = doctor->is_running || answers[i];
    }
    doctor->has_provisioner = answers[0];
    doctor->has_haproxy = haproxy_ask(doctor->settings->run_dir, "show info", &pid, &haproxy_failure);
    doctor->is_running = doctor->is_running || doctor->has_haproxy;
    if (!doctor->is_running) {
        check_stopped(doctor);
        return;
    }
    for (int i = 0; i < 3; i++) {
        findings_add(&doctor->findings, ours[i], answers[i] ? FINDING_OK : FINDING_FAIL, answers[i] ? NULL : restart,
                     "%s", answers[i] ? "answers" : failures[i].message);
    }
    if (!doctor->has_haproxy) {
        findings_add(&doctor->findings, "haproxy", FINDING_FAIL, restart, "%s", haproxy_failure.message);
        return;
    }
    check_health(doctor);
}
