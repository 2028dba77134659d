#include "fcgi-api/calls.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/names.h"
#include "fcgi-api/csv.h"
#include "fcgi-api/haproxy_exporter.h"
#include "fcgi-api/openapi.h"
#include "fcgi-api/uri.h"

#define ASK_TIMEOUT_MS    20000 /* a node without a leader, which says 503, gives up before (15 s) */
#define START_SLACK_S     10    /* the provisioner, which knows why, gives a start up first */
#define MANY_TIMEOUT_S    3600
#define MILLISECONDS_IN_S 1000

static int timeout_ms(const struct exchange *exchange) {
    switch (exchange->route->waits) {
    case WAIT_NONE:
        return ASK_TIMEOUT_MS;
    case WAIT_INSTANCE:
        return (int)(exchange->api->settings->start_timeout_seconds + START_SLACK_S) * MILLISECONDS_IN_S;
    case WAIT_MANY:
        break;
    }
    return MANY_TIMEOUT_S * MILLISECONDS_IN_S;
}

/* Adds what the path says. */
static bool add_parameter(const struct exchange *exchange, struct json_object *request, struct error *err) {
    const char *name = exchange->route->parameter;
    if (name == NULL) {
        return true;
    }
    bool is_policy = strcmp(name, "policy_id") == 0;
    bool good =
        is_policy ? name_check_policy_id(exchange->parameter, err) : name_check_user_id(exchange->parameter, err);
    return good &&
           (json_add_string(request, name, exchange->parameter) || error_set(err, ERROR_INTERNAL, "out of memory"));
}

/* Adds what the body says, where the table of routes knows what that may be. */
static bool add_body(const struct exchange *exchange, struct json_object *request, struct answer *answer) {
    if (exchange->route->body == NULL) {
        return true;
    }
    cleanup_json struct json_object *body = body_read(exchange->request, true, answer);
    return body != NULL && body_add_fields(body, exchange->route->body, request, answer);
}

/* The request to the provisioner, all but its user where neither path nor body name it. NULL: an answer was given. */
static struct json_object *make_request(const struct exchange *exchange, struct answer *answer) {
    struct error err = {0};
    cleanup_json struct json_object *entries = NULL;
    cleanup_json struct json_object *request = ipc_request(exchange->route->operation);
    struct json_object *actor = request_actor(exchange->request);
    bool good = request != NULL && actor != NULL && json_add(request, "actor", json_object_get(actor));
    json_object_put(actor);
    if (!good) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
    } else if (add_parameter(exchange, request, &err) &&
               query_read(uri_query(request_parameter(exchange->request, "REQUEST_URI")), exchange->route->query,
                          request, &entries, &err)) {
        return add_body(exchange, request, answer) ? steal_pointer(&request) : NULL;
    }
    if (entries != NULL) {
        answer_unprocessable(answer, entries);
    } else {
        answer_error(answer, &err);
    }
    return NULL;
}

/* A user is told of an error what is a user's business; the log has the rest. */
static void answer_failure(const struct exchange *exchange, const struct error *err, struct answer *answer) {
    struct error shown = *err;
    if (err->told[0] != '\0' && !exchange->identity->is_trusted) {
        log_warning(request_id(exchange->request), "%s", err->message);
        snprintf(shown.message, sizeof shown.message, "%s", error_for_clients(err));
    }
    answer_error(answer, &shown);
}

/* Asks; the answer must have the member `route->result`, if there is one. NULL: an answer was given. */
static struct json_object *ask(const struct exchange *exchange, struct json_object *request, struct answer *answer) {
    struct error err = {0};
    struct json_object *reply =
        exchange->provisioner->call(exchange->provisioner->argument, request, timeout_ms(exchange), &err);
    const char *result = exchange->route->result;
    if (reply != NULL && result != NULL && !json_object_object_get_ex(reply, result, NULL)) {
        error_set(&err, ERROR_INTERNAL, "terminals-provisioner answered without `%s`", result);
        json_object_put(reply);
        reply = NULL;
    }
    if (reply == NULL) {
        answer_failure(exchange, &err, answer);
    }
    return reply;
}

static struct json_object *make_request_and_ask(const struct exchange *exchange, struct answer *answer) {
    struct json_object *request = make_request(exchange, answer);
    return request == NULL ? NULL : ask(exchange, request, answer);
}

/* Why a start failed is the administrator's to read: it may name hosts and paths. */
static bool hide_error(struct json_object *result) {
    return json_get_string(result, "error") == NULL || json_add_string(result, "error", "The instance failed");
}

static void answer_with_result(const struct exchange *exchange, struct json_object *reply, struct answer *answer) {
    struct json_object *result = json_object_object_get(reply, exchange->route->result);
    if (exchange->identity->is_trusted || hide_error(result)) {
        answer_json(answer, 200, result);
    } /* else without a status: answer_write() says 500 */
}

void call_member(const struct exchange *exchange, struct answer *answer) {
    cleanup_json struct json_object *reply = make_request_and_ask(exchange, answer);
    if (reply != NULL) {
        answer_with_result(exchange, reply, answer);
    }
}

static void add_total(struct json_object *reply, struct answer *answer) {
    char total[24];
    snprintf(total, sizeof total, "%lld", (long long)json_get_int(reply, "total", 0));
    answer_add_header(answer, "X-Total-Count", total);
}

void call_list(const struct exchange *exchange, struct answer *answer) {
    cleanup_json struct json_object *reply = make_request_and_ask(exchange, answer);
    if (reply == NULL) {
        return;
    }
    add_total(reply, answer);
    answer_with_result(exchange, reply, answer);
}

static void answer_rows_as_csv(struct json_object *rows, struct answer *answer) {
    static const char *const names[] = {"created_at",    "action",      "severity",   "user_id",
                                        "resource_type", "resource_id", "detail",     "ip_address",
                                        "user_agent",    "status_code", "request_id", "id"};
    const size_t count = sizeof names / sizeof names[0];
    csv_append_names(&answer->body, names, count);
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        csv_append_row(&answer->body, json_object_array_get_idx(rows, i), names, count);
    }
    answer_add_header(answer, "Content-Disposition", "attachment; filename=\"audit-log.csv\"");
    answer_other(answer, 200, "text/csv; charset=utf-8");
}

void call_audit_logs(const struct exchange *exchange, struct answer *answer) {
    struct json_object *request = make_request(exchange, answer);
    if (request == NULL) {
        return;
    }
    bool wants_csv = strcmp(json_get_string(request, "format"), "csv") == 0;
    cleanup_json struct json_object *reply = ask(exchange, request, answer);
    if (reply == NULL) {
        return;
    }
    add_total(reply, answer);
    struct json_object *rows = json_get_array(reply, exchange->route->result);
    if (wants_csv && rows != NULL) {
        answer_rows_as_csv(rows, answer);
    } else {
        answer_with_result(exchange, reply, answer);
    }
}

void call_create_tenant(const struct exchange *exchange, struct answer *answer) {
    struct error err = {0};
    const char *user_id = NULL;
    if (!request_user_id(exchange->request, &user_id, &err)) {
        if (err.code == ERROR_UNPROCESSABLE) {
            answer_missing_header(answer, "x-user-id");
        } else {
            answer_error(answer, &err);
        }
        return;
    }
    if (!identity_may_act_for(exchange->identity, user_id, &err)) {
        answer_error(answer, &err);
        return;
    }
    struct json_object *request = make_request(exchange, answer);
    if (request == NULL) {
        return;
    }
    if (!json_add_string(request, "user_id", user_id)) {
        json_object_put(request);
        return; /* without a status: answer_write() says 500 */
    }
    cleanup_json struct json_object *reply = ask(exchange, request, answer);
    if (reply != NULL) {
        answer_with_result(exchange, reply, answer);
    }
}

void call_delete(const struct exchange *exchange, struct answer *answer) {
    cleanup_json struct json_object *reply = make_request_and_ask(exchange, answer);
    if (reply != NULL) {
        answer_detail(answer, 200, "deleted");
    }
}

/* Adds `data` from the body and asks. */
static struct json_object *ask_with_data(const struct exchange *exchange, struct json_object *request,
                                         struct json_object *body, struct answer *answer) {
    struct json_object *data = body_policy_data(body, answer);
    if (data == NULL || !json_add(request, "data", json_object_get(data))) {
        json_object_put(request);
        return NULL; /* if without a status: answer_write() says 500 */
    }
    return ask(exchange, request, answer);
}

void call_create_policy(const struct exchange *exchange, struct answer *answer) {
    struct error err = {0};
    cleanup_json struct json_object *body = body_read(exchange->request, false, answer);
    if (body == NULL) {
        return;
    }
    struct json_object *value = NULL;
    const char *policy_id = json_get_string(body, "id");
    if (!json_object_object_get_ex(body, "id", &value) || policy_id == NULL) {
        body_refuse(answer, "id", value == NULL ? "missing" : "string_type",
                    value == NULL ? "Field required" : "Input should be a valid string");
        return;
    }
    if (!name_check_policy_id(policy_id, &err)) {
        answer_error(answer, &err);
        return;
    }
    struct json_object *request = make_request(exchange, answer);
    if (request == NULL || !json_add_string(request, "policy_id", policy_id)) {
        json_object_put(request);
        return;
    }
    int status = json_get_bool(request, "dry_run", false) ? 200 : 201;
    cleanup_json struct json_object *reply = ask_with_data(exchange, request, body, answer);
    if (reply != NULL) {
        answer_json(answer, status, json_object_object_get(reply, exchange->route->result));
    }
}

void call_update_policy(const struct exchange *exchange, struct answer *answer) {
    struct json_object *request = make_request(exchange, answer);
    cleanup_json struct json_object *body = request == NULL ? NULL : body_read(exchange->request, false, answer);
    if (body == NULL) {
        json_object_put(request);
        return;
    }
    struct json_object *value = NULL;
    const char *policy_id = json_get_string(body, "id");
    if (json_object_object_get_ex(body, "id", &value) &&
        (policy_id == NULL || strcmp(policy_id, exchange->parameter) != 0)) {
        json_object_put(request);
        answer_detail(answer, 400, "`id` is not the policy in the path");
        return;
    }
    cleanup_json struct json_object *reply = ask_with_data(exchange, request, body, answer);
    if (reply != NULL) {
        answer_with_result(exchange, reply, answer);
    }
}

void call_update_lifecycle(const struct exchange *exchange, struct answer *answer) {
    struct json_object *request = make_request(exchange, answer);
    cleanup_json struct json_object *body = request == NULL ? NULL : body_read(exchange->request, false, answer);
    if (body == NULL || !json_add(request, "lifecycle", json_object_get(body))) {
        json_object_put(request);
        return; /* if without a status: answer_write() says 500 */
    }
    cleanup_json struct json_object *reply = ask(exchange, request, answer);
    if (reply != NULL) {
        answer_with_result(exchange, reply, answer);
    }
}

void call_config(const struct exchange *exchange, struct answer *answer) {
    cleanup_json struct json_object *reply = make_request_and_ask(exchange, answer);
    if (reply == NULL) {
        return;
    }
    struct json_object *config = json_get_object(reply, exchange->route->result);
    cleanup_json struct json_object *own = settings_to_json(exchange->api->settings, READER_API);
    if (config == NULL) {
        answer_detail(answer, 500, "terminals-provisioner answered without settings");
        return;
    }
    if (own == NULL) {
        return; /* without a status: answer_write() says 500 */
    }
    /* Each process is given only what it needs, so ours is the word on what we read. */
    json_object_object_foreach(own, key, value) {
        if (!json_add(config, key, json_object_get(value))) {
            return;
        }
    }
    answer_json(answer, 200, config);
}

void call_metrics(const struct exchange *exchange, struct answer *answer) {
    struct error err = {0};
    cleanup_json struct json_object *reply = make_request_and_ask(exchange, answer);
    const char *own = reply == NULL ? NULL : json_get_string(reply, exchange->route->result);
    if (reply == NULL) {
        return;
    }
    if (own == NULL) {
        answer_detail(answer, 500, "terminals-provisioner answered without metrics");
        return;
    }
    bool has_haproxy = haproxy_exporter_read(exchange->api->settings->run_dir, &answer->body, &err);
    if (!has_haproxy) {
        log_debug(request_id(exchange->request), "%s", err.message);
    }
    buffer_append_format(&answer->body,
                         "%s# HELP terminals_haproxy_exporter_up 1 if HAProxy's own metrics are in this answer.\n"
                         "# TYPE terminals_haproxy_exporter_up gauge\nterminals_haproxy_exporter_up %d\n",
                         own, has_haproxy);
    answer_other(answer, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void call_openapi(const struct exchange *exchange, struct answer *answer) {
    cleanup_json struct json_object *reply = make_request_and_ask(exchange, answer);
    if (reply == NULL) {
        return;
    }
    struct json_object *document = json_get_object(reply, exchange->route->result);
    if (document == NULL) {
        answer_text(answer, 200, exchange->api->openapi, strlen(exchange->api->openapi));
        return;
    }
    openapi_strip_security(document);
    answer_json(answer, 200, document);
}
