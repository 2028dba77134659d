#include "fcgi-api/responder.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "fcgi-api/page.h"
#include "fcgi-api/refusal.h"
#include "fcgi-api/routes.h"
#include "fcgi-api/uri.h"

#define METHOD_NOT_ALLOWED 405

static void answer_not_found(struct answer *answer, const struct buffer *allow, const struct error *err) {
    if (err->code != ERROR_CONFLICT) {
        answer_error(answer, err);
        return;
    }
    answer_add_header(answer, "Allow", allow->data);
    answer_detail(answer, METHOD_NOT_ALLOWED, err->message);
}

/* A user calls what is for users, and where the path names one, only with their own name in it. */
static bool may_call(const struct api *api, const struct route *route, const char *parameter,
                     const struct identity *identity, struct error *err) {
    if (!route->is_for_users) {
        return identity_may_administer(&api->authenticator, identity, err);
    }
    bool names_user = route->parameter != NULL && strcmp(route->parameter, "user_id") == 0;
    return !names_user || identity_may_act_for(identity, parameter, err);
}

#define METRICS_PATH "/metrics"

/* Prometheus' own token is good for this path alone. */
static bool is_scraper(const struct api *api, struct request *request, const char *target) {
    return target != NULL && uri_path_length(target) == strlen(METRICS_PATH) &&
           strncmp(target, METRICS_PATH, strlen(METRICS_PATH)) == 0 &&
           authenticator_knows_metrics_token(&api->authenticator, request);
}

void responder_answer(const struct api *api, const struct provisioner *provisioner, bool may_wait,
                      struct request *request, struct answer *answer) {
    struct error err = {0};
    struct identity identity;
    const char *method = request_parameter(request, "REQUEST_METHOD");
    const char *target = request_parameter(request, "REQUEST_URI");
    answer->omits_body = method != NULL && strcmp(method, "HEAD") == 0;
    if (page_is_asked(request, method, target)) {
        page_answer(api->settings, request, answer);
        return;
    }
    if (is_scraper(api, request, target)) {
        identity = (struct identity){.is_trusted = true};
    } else if (!authenticate(&api->authenticator, request, &identity, &err)) {
        if (request->is_put_aside) {
            return;
        }
        refuse_credentials(api, request, &err, answer);
        return;
    }
    if (method == NULL || target == NULL || target[0] != '/') {
        answer_detail(answer, 400, "The path must begin with `/`");
        return;
    }

    cleanup_free char *parameter = NULL;
    cleanup_buffer struct buffer allow = {0};
    const struct route *route = route_find(method, target, &parameter, &allow, &err);
    if (route == NULL) {
        answer_not_found(answer, &allow, &err);
    } else if (!may_call(api, route, parameter, &identity, &err)) {
        answer_error(answer, &err);
    } else if (route->waits != WAIT_NONE && !may_wait) {
        log_error(request_id(request), "%s %s came to api-admin, but belongs to api-operations", method,
                  route->pattern);
        answer_detail(answer, 500, "This call was routed to the wrong socket");
    } else {
        struct exchange exchange = {api, provisioner, request, &identity, route, parameter};
        route->handle(&exchange, answer);
    }
}
