/* survey_answer.c - the side of a survey that is asked, and what both sides say. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "provisioner/node.h"
#include "provisioner/survey.h"
#include "provisioner/survey_words.h"

struct json_object *survey_question(int64_t id, bool is_of_activity) {
    cleanup_json struct json_object *question = json_object_new_object();
    bool ok = question != NULL && json_add_int(question, SURVEY_QUESTION, id) &&
              json_add_bool(question, "activity", is_of_activity);
    return ok ? json_object_get(question) : NULL;
}

bool survey_list_add(struct route_activity_list *list, const struct route_activity *route) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity * 2 + 64;
        struct route_activity *grown = reallocarray(list->routes, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        list->routes = grown;
        list->capacity = capacity;
    }
    list->routes[list->count++] = *route;
    return true;
}

/* [route key, idle_ms, in_flight] */
static bool read_route(struct json_object *entry, struct route_activity_list *list) {
    struct route_activity route = {0};
    if (!json_object_is_type(entry, json_type_array) || json_object_array_length(entry) != 3) {
        return false;
    }
    const char *key = json_object_get_string(json_object_array_get_idx(entry, 0));
    if (key == NULL || strlen(key) != DIGEST_HEX_LENGTH) {
        return false;
    }
    memcpy(route.route_key, key, DIGEST_HEX_SIZE);
    route.idle_ms = json_object_get_int64(json_object_array_get_idx(entry, 1));
    route.in_flight = (unsigned)json_object_get_int64(json_object_array_get_idx(entry, 2));
    return survey_list_add(list, &route);
}

bool survey_read_answer(struct json_object *message, struct route_activity_list *list) {
    struct json_object *routes = json_get_array(message, "routes");
    bool ok = json_get_bool(message, "ok", false);
    size_t count = routes == NULL ? 0 : json_object_array_length(routes);
    for (size_t i = 0; ok && i < count; i++) {
        ok = read_route(json_object_array_get_idx(routes, i), list);
    }
    return ok;
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

struct survey_question {
    struct provisioner *provisioner;
    int64_t id;
    bool is_of_activity;
    struct survey_question *prev, *next;
};

static void question_free(struct survey_question *question) {
    DL_DELETE(question->provisioner->survey_questions, question);
    free(question);
}

void survey_forget_questions(struct provisioner *provisioner) {
    while (provisioner->survey_questions != NULL) {
        question_free(provisioner->survey_questions);
    }
}

static bool add_route(struct json_object *routes, const struct route_activity *route) {
    struct json_object *entry = json_object_new_array_ext(3);
    if (entry == NULL || json_object_array_add(routes, entry) != 0) {
        json_object_put(entry);
        return false;
    }
    struct json_object *members[] = {json_object_new_string(route->route_key), json_object_new_int64(route->idle_ms),
                                     json_object_new_int64(route->in_flight)};
    for (size_t i = 0; i < 3; i++) {
        if (members[i] == NULL || json_object_array_add(entry, members[i]) != 0) {
            json_object_put(members[i]);
            return false;
        }
    }
    return true;
}

int64_t survey_lost_ms_ago(const struct provisioner *provisioner) {
    int64_t lost_ms = haproxy_runtime_lost_ms(provisioner->haproxy);
    return lost_ms == 0 ? -1 : clock_monotonic_ms() - lost_ms;
}

static void reply(struct survey_question *question, bool ok, const struct route_activity *routes, size_t count) {
    struct node *node = question->provisioner->node;
    struct error err;
    cleanup_json struct json_object *answer = json_object_new_object();
    struct json_object *list = json_object_new_array();
    bool complete = answer != NULL && list != NULL;
    for (size_t i = 0; complete && ok && i < count; i++) {
        complete = add_route(list, &routes[i]);
    }
    complete = answer != NULL && json_add(answer, "routes", list) && complete &&
               json_add_int(answer, SURVEY_ANSWER, question->id) && json_add_string(answer, "node", node_id(node)) &&
               json_add_bool(answer, "ok", ok) &&
               json_add_int(answer, SURVEY_LOST, survey_lost_ms_ago(question->provisioner));
    if (!complete) {
        log_warning(NULL, "answer the leader: out of memory");
    } else if (!node_send(node, NODE_LEADER, answer, &err)) {
        log_warning(NULL, "answer the leader: %s", err.message);
    }
    question_free(question);
}

static void on_activity(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct survey_question *question = argument;
    bool is_known = ok || haproxy_runtime_is_gone(question->provisioner->haproxy);
    reply(question, is_known, routes, ok ? count : 0);
}

/* HAProxy holds no withdrawn route any more. */
static void on_flushed(void *argument) {
    struct survey_question *question = argument;
    if (question->is_of_activity) {
        haproxy_runtime_activity(question->provisioner->haproxy, on_activity, question);
    } else {
        reply(question, true, NULL, 0);
    }
}

bool survey_answer(struct provisioner *provisioner, struct json_object *message) {
    int64_t id = json_get_int(message, SURVEY_QUESTION, -1);
    if (id < 0) {
        return false;
    }
    struct survey_question *question = malloc(sizeof *question);
    if (question == NULL) {
        log_warning(NULL, "answer the leader: out of memory");
        return true;
    }
    *question = (struct survey_question){
        .provisioner = provisioner, .id = id, .is_of_activity = json_get_bool(message, "activity", false)};
    DL_APPEND(provisioner->survey_questions, question);
    map_flush(provisioner->routes, on_flushed, question);
    return true;
}
