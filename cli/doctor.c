#include "cli/doctor.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/command_line.h"
#include "cli/doctor_checks.h"

#define STATUS_BROKEN 2

static const char usage[] = "usage: terminals doctor [--json] [--quiet]\n"
                            "\n"
                            "Checks the settings and what they point to, whether Terminals runs or not. A line each:\n"
                            "  ok|warn|FAIL  what: what is wrong; what to do\n"
                            "\n"
                            "  --json   one JSON array instead\n"
                            "  --quiet  only what is wrong\n"
                            "\n"
                            "Exit status: 0 all is well, 1 there are warnings, 2 something is broken\n";

/* In the order in which one depends on another. */
static doctor_check *const families[] = {
    doctor_check_access, doctor_check_processes, doctor_check_backend, doctor_check_haproxy, doctor_check_maps,
    doctor_check_state,  doctor_check_network,   doctor_check_disk,    doctor_check_machine,
};

struct options {
    bool json;
    bool quiet;
};

static bool is_shown(const struct options *options, struct json_object *finding) {
    return !options->quiet || finding_status(finding) != FINDING_OK;
}

static void print_line(struct json_object *finding) {
    static const char *const words[] = {[FINDING_OK] = "ok  ", [FINDING_WARN] = "warn", [FINDING_FAIL] = "FAIL"};
    const char *advice = json_get_string(finding, "advice");
    printf("%s  %s: %s%s%s\n", words[finding_status(finding)], json_get_string(finding, "check"),
           json_get_string(finding, "detail"), advice == NULL ? "" : "; ", advice == NULL ? "" : advice);
}

static void print(const struct findings *findings, const struct options *options) {
    size_t count = json_object_array_length(findings->list);
    const char *separator = "";
    if (options->json) {
        putchar('[');
    }
    for (size_t i = 0; i < count; i++) {
        struct json_object *finding = json_object_array_get_idx(findings->list, i);
        if (!is_shown(options, finding)) {
            continue;
        }
        if (options->json) {
            printf("%s\n %s", separator, json_text(finding, &(size_t){0}));
            separator = ",";
        } else {
            print_line(finding);
        }
    }
    fputs(options->json ? "\n]\n" : "", stdout);
}

static void look(struct doctor *doctor, struct settings *settings) {
    if (!doctor_read_settings(&doctor->findings, settings)) {
        return;
    }
    doctor->settings = settings;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        families[i](doctor);
    }
    settings_free(settings);
}

int doctor(int argc, char **argv) {
    struct options options = {0};
    struct settings settings = {0};
    struct doctor doctor = {0};
    const struct command_argument arguments[] = {
        {"--json", .flag = &options.json}, {"--quiet", .flag = &options.quiet}, {0}};
    int status = STATUS_BROKEN;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up while it is asked */
    if (!findings_init(&doctor.findings) || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        findings_free(&doctor.findings);
        fputs("terminals doctor: out of memory\n", stderr);
        return STATUS_BROKEN;
    }
    look(&doctor, &settings);
    print(&doctor.findings, &options);
    status = (int)findings_worst(&doctor.findings);
    if (doctor.findings.is_incomplete) {
        fputs("terminals doctor: out of memory: there may be more\n", stderr);
        status = STATUS_BROKEN;
    }
    findings_free(&doctor.findings);
    curl_global_cleanup();
    return status;
}
