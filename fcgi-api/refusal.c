#include "fcgi-api/refusal.h"

#include <inttypes.h>
#include <stdio.h>

#include "fcgi-api/auth_failures.h"

void refuse_credentials(const struct api *api, const struct request *request, const struct error *err,
                        struct answer *answer) {
    if (err->code == ERROR_UNAUTHORIZED || err->code == ERROR_TOO_MANY) {
        auth_failures_add(api->auth_failures, request, err);
    }
    if (err->code == ERROR_TOO_MANY) {
        char seconds[24];
        snprintf(seconds, sizeof seconds, "%" PRId64, request->retry_after_seconds);
        answer_add_header(answer, "Retry-After", seconds);
    }
    answer_error(answer, err);
}
