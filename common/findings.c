#include "common/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {[FINDING_OK] = "ok", [FINDING_WARN] = "warn", [FINDING_FAIL] = "fail"};

bool findings_init(struct findings *findings) {
    *findings = (struct findings){.list = json_object_new_array()};
    return findings->list != NULL;
}

void findings_free(struct findings *findings) {
    json_object_put(findings->list);
    findings->list = NULL;
}

enum finding_status finding_status(struct json_object *finding) {
    const char *name = json_get_string(finding, "status");
    for (int status = FINDING_OK; name != NULL && status <= FINDING_FAIL; status++) {
        if (strcmp(names[status], name) == 0) {
            return (enum finding_status)status;
        }
    }
    return FINDING_FAIL;
}

static void append(struct findings *findings, struct json_object *finding) {
    if (json_object_array_add(findings->list, finding) != 0) {
        json_object_put(finding);
        findings->is_incomplete = true;
    }
}

void findings_add(struct findings *findings, const char *check, enum finding_status status, const char *advice,
                  const char *format, ...) {
    char detail[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    for (char *byte = detail; *byte != '\0'; byte++) {
        if ((unsigned char)*byte < ' ' || *byte == 0x7f) {
            *byte = '?';
        }
    }
    struct json_object *finding = json_object_new_object();
    if (finding == NULL || !json_add_string(finding, "check", check) ||
        !json_add_string(finding, "status", names[status]) || !json_add_string(finding, "detail", detail) ||
        !json_add_string(finding, "advice", advice)) {
        json_object_put(finding);
        findings->is_incomplete = true;
        return;
    }
    append(findings, finding);
}

bool findings_add_json(struct findings *findings, struct json_object *finding) {
    if (json_get_string(finding, "check") == NULL || json_get_string(finding, "status") == NULL ||
        json_get_string(finding, "detail") == NULL) {
        return false;
    }
    append(findings, json_object_get(finding));
    return true;
}

enum finding_status findings_worst(const struct findings *findings) {
    enum finding_status worst = FINDING_OK;
    for (size_t i = 0; i < json_object_array_length(findings->list); i++) {
        enum finding_status status = finding_status(json_object_array_get_idx(findings->list, i));
        worst = status > worst ? status : worst;
    }
    return worst;
}
