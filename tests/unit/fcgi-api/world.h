/* world.h - what the tests of fcgi-api share: an api with the key `the-key`, requests from a few words, and a
 * provisioner that records what it is asked. */
#ifndef TERMINALS_TESTS_FCGI_API_WORLD_H
#define TERMINALS_TESTS_FCGI_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-api/answer.h"
#include "fcgi-api/api.h"
#include "fcgi-api/request.h"

#define KEY                  "the-key"
#define WORLD_PARAMETERS_MAX 16

static inline struct api world_api(struct settings *settings) {
    static char key[] = KEY;
    struct api api = {.settings = settings, .openapi = "{\"paths\":{}}"};
    settings->api_key = settings->open ? NULL : key;
    settings->start_timeout_seconds = 1;
    struct error err = {0};
    assert_true(authenticator_init(&api.authenticator, settings, &err));
    return api;
}

static inline void world_api_free(struct api *api) {
    authenticator_free(&api->authenticator);
}
#define cleanup_api __attribute__((cleanup(world_api_free)))

/* A request whose parameters can be written to, as libfcgi's can. */
struct world_request {
    char *parameters[WORLD_PARAMETERS_MAX + 1];
    struct request request;
};

static inline void world_request_free(struct world_request *world) {
    for (char **parameter = world->parameters; *parameter != NULL; parameter++) {
        free(*parameter);
    }
}
#define cleanup_world_request __attribute__((cleanup(world_request_free)))

/* `list` has all parameters, each followed by a line feed. */
static inline void world_request_init(struct world_request *world, const char *list) {
    *world = (struct world_request){.request = {.parameters = world->parameters}};
    for (size_t count = 0; *list != '\0'; count++) {
        size_t length = strcspn(list, "\n");
        assert_true(count < WORLD_PARAMETERS_MAX);
        world->parameters[count] = strndup(list, length);
        list += length + 1;
    }
}

/* A provisioner that is one answer, or an error. */
struct world_provisioner {
    const char *answer; /* JSON; NULL: `code` */
    enum error_code code;
    struct json_object *asked; /* the last request */
    int timeout_ms;
};

static inline struct json_object *world_call(void *argument, struct json_object *request, int timeout_ms,
                                             struct error *err) {
    struct world_provisioner *world = argument;
    json_object_put(world->asked);
    world->asked = request;
    world->timeout_ms = timeout_ms;
    if (world->answer == NULL) {
        error_set(err, world->code, "the reason");
        return NULL;
    }
    return json_parse_object(world->answer, strlen(world->answer), err);
}

/* The body as a string. */
static inline const char *world_body(const struct answer *answer) {
    return answer->body.data == NULL ? "" : answer->body.data;
}

#endif
