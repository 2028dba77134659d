#include "instance/http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "instance/http_server.h"

struct instance *http_instance(const struct http_request *request) {
    return request->instance;
}

const char *http_method(const struct http_request *request) {
    return request->method;
}

const char *http_raw_query(const struct http_request *request) {
    return request->raw_query;
}

const char *http_raw_path_rest(const struct http_request *request) {
    return request->raw_rest;
}

const char *http_path_parameter(const struct http_request *request, const char *name, size_t *length) {
    for (size_t i = 0; i < request->parameter_count; i++) {
        const struct http_path_parameter *parameter = &request->parameters[i];
        if (strlen(name) == parameter->name_length && memcmp(name, parameter->name, parameter->name_length) == 0) {
            if (length != NULL) {
                *length = parameter->value_length;
            }
            return parameter->value;
        }
    }
    return NULL;
}

/* Parsed when somebody asks, since many requests have none. Out of memory: as if there were none, and the handler's own
 * allocations will say so. */
static const struct url_query *query_of(struct http_request *request) {
    if (!request->is_query_parsed) {
        request->is_query_parsed = true;
        url_query_parse(request->raw_query, &request->query);
    }
    return &request->query;
}

static bool is_given(const struct url_parameter *parameter, const char *name) {
    return strcmp(parameter->name, name) == 0 && strcasecmp(parameter->value, "null") != 0;
}

static const char *value_of(const struct url_parameter *parameter, size_t *length) {
    if (length != NULL) {
        *length = parameter->value_length;
    }
    return parameter->value;
}

const char *http_query(struct http_request *request, const char *name, size_t *length) {
    const struct url_query *query = query_of(request);
    for (size_t i = query->count; i > 0; i--) {
        if (is_given(&query->parameters[i - 1], name)) {
            return value_of(&query->parameters[i - 1], length);
        }
    }
    return NULL;
}

const char *http_query_at(struct http_request *request, const char *name, size_t index, size_t *length) {
    const struct url_query *query = query_of(request);
    for (size_t i = 0; i < query->count; i++) {
        if (is_given(&query->parameters[i], name) && index-- == 0) {
            return value_of(&query->parameters[i], length);
        }
    }
    return NULL;
}

const char *http_header(const struct http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

struct header_visit {
    void (*each)(void *state, const char *name, const char *value);
    void *state;
};

static enum MHD_Result visit_header(void *state, enum MHD_ValueKind kind, const char *name, const char *value) {
    (void)kind;
    const struct header_visit *visit = state;
    visit->each(visit->state, name, value != NULL ? value : "");
    return MHD_YES;
}

void http_each_header(const struct http_request *request,
                      void (*each)(void *state, const char *name, const char *value), void *state) {
    struct header_visit visit = {each, state};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, visit_header, &visit);
}

struct json_object *http_json(const struct http_request *request) {
    return request->json;
}

void http_set_state(struct http_request *request, void *state, void (*release)(void *state)) {
    request->state = state;
    request->release = release;
}

void *http_state(const struct http_request *request) {
    return request->state;
}

void http_suspend(struct http_request *request) {
    MHD_suspend_connection(request->connection);
    request->is_suspended = true;
    if (request->is_resume_due) {
        http_resume(request);
    }
}

void http_resume(struct http_request *request) {
    request->is_resume_due = !request->is_suspended;
    if (request->is_suspended) {
        request->is_suspended = false;
        MHD_resume_connection(request->connection);
        http_server_run_soon(request->server);
    }
}
