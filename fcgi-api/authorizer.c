#include "fcgi-api/authorizer.h"

#include "common/names.h"
#include "fcgi-api/refusal.h"
#include "fcgi-api/uri.h"

/* Where a request may go: checked, defaults filled in, borrowed from the request. */
struct destination {
    const char *user_id;
    const char *policy_id;
    const char *context_id;
};

/* The policy is a path segment: absent means `default`, but an empty one was written so and is wrong. Whether it exists
 * is the provisioner's knowledge. */
static bool read_policy(const struct request *request, const char **policy_id, struct error *err) {
    const char *policy = request_parameter(request, "TERMINALS_POLICY");
    *policy_id = policy == NULL ? NAME_DEFAULT : policy;
    return name_check_policy_id(*policy_id, err);
}

static bool read_context(const struct request *request, const char **context_id, struct error *err) {
    const char *context = NULL;
    if (!request_single_header(request, "HTTP_X_TERMINAL_CONTEXT_ID", NULL, "X-Terminal-Context-Id", &context, err)) {
        return false;
    }
    *context_id = name_or_default(context);
    return name_check_context_id(*context_id, err);
}

static bool decide(const struct identity *identity, const struct request *request, struct destination *destination,
                   struct error *err) {
    return request_user_id(request, &destination->user_id, err) &&
           identity_may_act_for(identity, destination->user_id, err) &&
           read_policy(request, &destination->policy_id, err) && read_context(request, &destination->context_id, err) &&
           uri_check_instance_target(request_parameter(request, "REQUEST_URI"), err);
}

void authorizer_answer(const struct api *api, struct request *request, struct answer *answer) {
    struct error err = {0};
    struct identity identity;
    struct destination destination = {0};
    if (!authenticate(&api->authenticator, request, &identity, &err)) {
        if (!request->is_put_aside) {
            refuse_credentials(api, request, &err, answer);
        }
    } else if (decide(&identity, request, &destination, &err)) {
        /* Variable-*: FastCGI 1.0 §6.3. None of the three can hold a line feed. */
        answer_add_header(answer, "Variable-User", destination.user_id);
        answer_add_header(answer, "Variable-Policy", destination.policy_id);
        answer_add_header(answer, "Variable-Context", destination.context_id);
        answer->status = 200;
    } else if (err.code == ERROR_UNPROCESSABLE) {
        answer_missing_header(answer, "x-user-id");
    } else {
        answer_error(answer, &err);
    }
}
