/* doctor_haproxy.c - is HAProxy recent enough, and may it hold as many connections as it will be asked to? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor_checks.h"
#include "cli/executables.h"
#include "cli/haproxy_ask.h"
#include "cli/program_output.h"
#include "common/cleanup.h"

#define OLDEST_MAJOR     2
#define OLDEST_MINOR     6
#define OUTPUT_MAX_BYTES 65536
#define FEW_CONNECTIONS  4000
#define FULL_PERCENT     80

/* The value behind "<name>: " at the beginning of a line, -1 if there is none. */
static long long number_of(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            return strtoll(line + length + 1, NULL, 10);
        }
    }
    return -1;
}

static void check_version(struct doctor *doctor, const char *text) {
    int major = 0;
    int minor = 0;
    if (sscanf(text, "%d.%d", &major, &minor) != 2) {
        findings_add(&doctor->findings, "haproxy", FINDING_WARN, "look at `haproxy -v`", "its version cannot be told");
        return;
    }
    bool is_old = major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR);
    findings_add(&doctor->findings, "haproxy", is_old ? FINDING_FAIL : FINDING_OK,
                 is_old ? "install 2.6 or later" : NULL, "version %d.%d%s", major, minor,
                 is_old ? " is too old for our configuration" : "");
}

static void check_connections(struct doctor *doctor, const char *info) {
    long long most = number_of(info, "Maxconn");
    long long now = number_of(info, "CurrConns");
    long long files = number_of(info, "Ulimit-n");
    static const char advice[] = "raise the limit of open files: `LimitNOFILE=` of the service, `ulimits` of compose";
    if (most < 0 || now < 0) {
        return;
    }
    bool is_full = most > 0 && now * 100 >= most * FULL_PERCENT;
    bool is_bad = is_full || most < FEW_CONNECTIONS;
    findings_add(&doctor->findings, "connections", is_bad ? FINDING_WARN : FINDING_OK, is_bad ? advice : NULL,
                 "%lld of the %lld that HAProxy may hold (%lld open files)%s", now, most, files,
                 is_full  ? ": it will soon take no more"
                 : is_bad ? ": few, since a request through it takes two"
                          : "");
}

static void check_program(struct doctor *doctor) {
    struct executables executables;
    struct error err = {0};
    cleanup_buffer struct buffer output = {0};
    int status = 0;
    if (!executables_find(&executables, &err)) {
        return; /* said by the check of the programs */
    }
    bool ok = program_output(executables.programs[PROGRAM_HAPROXY], (const char *const[]){"-v", NULL}, -1,
                             OUTPUT_MAX_BYTES, &output, &status, &err);
    const char *version = ok && output.data != NULL ? strstr(output.data, "ersion ") : NULL;
    if (!ok) {
        findings_add(&doctor->findings, "haproxy", FINDING_FAIL, "install it again", "%s", err.message);
    } else {
        check_version(doctor, version == NULL ? "" : version + strlen("ersion "));
    }
    executables_free(&executables);
}

void doctor_check_haproxy(struct doctor *doctor) {
    cleanup_buffer struct buffer info = {0};
    struct error err = {0};
    if (!doctor->has_haproxy || !haproxy_ask(doctor->settings->run_dir, "show info", &info, &err)) {
        if (!doctor->is_running) {
            check_program(doctor);
        }
        return;
    }
    const char *version = strstr(info.data == NULL ? "" : info.data, "\nVersion: ");
    check_version(doctor, version == NULL ? "" : version + strlen("\nVersion: "));
    check_connections(doctor, info.data == NULL ? "" : info.data);
}
