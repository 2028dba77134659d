#include "provisioner/doctor.h"

#include <stdio.h>

bool doctor_print(const struct settings *settings, struct error *err) {
    static doctor_look *const backends[] = {
        [BACKEND_DOCKER] = doctor_look_at_docker,
        [BACKEND_KUBERNETES] = doctor_look_at_kubernetes,
        [BACKEND_KUBERNETES_OPERATOR] = doctor_look_at_kubernetes,
        [BACKEND_LOCAL] = doctor_look_at_local,
        [BACKEND_STATIC] = doctor_look_at_static,
    };
    struct findings findings;
    if (!findings_init(&findings)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    doctor_look_at_database(settings, &findings);
    backends[settings->backend](settings, &findings);
    for (size_t i = 0; i < json_object_array_length(findings.list); i++) {
        puts(json_text(json_object_array_get_idx(findings.list, i), &(size_t){0}));
    }
    bool ok = !findings.is_incomplete || error_set(err, ERROR_INTERNAL, "out of memory");
    findings_free(&findings);
    return ok;
}
