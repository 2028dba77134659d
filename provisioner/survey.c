#include "provisioner/survey.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "provisioner/haproxy_activity.h"
#include "provisioner/idle.h"
#include "provisioner/ipc_server.h"
#include "provisioner/node.h"
#include "provisioner/survey_words.h"

struct survey {
    struct provisioner *provisioner;
    int64_t id;
    bool is_of_activity;
    bool ok;
    bool own_is_missing;
    char (*missing)[33]; /* who has not answered */
    size_t missing_count;
    struct route_activity_list list;
    struct event *timer;
    void (*looked)(void *argument, bool ok, const struct route_activity *routes, size_t count);
    void (*flushed)(void *argument);
    void *argument;
    struct survey *prev, *next;
};

static void survey_free(struct survey *survey) {
    DL_DELETE(survey->provisioner->surveys, survey);
    if (survey->timer != NULL) {
        event_free(survey->timer);
    }
    free(survey->missing);
    free(survey->list.routes);
    free(survey);
}

static void tell(struct survey *survey) {
    if (survey->is_of_activity) {
        survey->looked(survey->argument, survey->ok, survey->list.routes, survey->ok ? survey->list.count : 0);
    } else {
        survey->flushed(survey->argument);
    }
}

static void finish_if_complete(struct survey *survey) {
    if (!survey->own_is_missing && survey->missing_count == 0) {
        tell(survey);
        survey_free(survey);
    }
}

/* --- this node ---------------------------------------------------------------------------------------------------- */

/* An HAProxy has ended, so long ago, and with it what it knew of who was active since the last look. */
static void note_loss(struct provisioner *provisioner, int64_t lost_ms_ago) {
    int64_t lost_ms = clock_monotonic_ms() - lost_ms_ago;
    if (lost_ms_ago >= 0 && lost_ms > provisioner->not_idle_before_ms) {
        provisioner->not_idle_before_ms = lost_ms;
    }
}

/* Where no HAProxy runs, nothing comes through it. */
static void on_own_activity(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct survey *survey = argument;
    survey->own_is_missing = false;
    survey->ok = survey->ok && (ok || haproxy_runtime_is_gone(survey->provisioner->haproxy));
    note_loss(survey->provisioner, survey_lost_ms_ago(survey->provisioner));
    for (size_t i = 0; ok && i < count; i++) {
        survey->ok = survey_list_add(&survey->list, &routes[i]) && survey->ok;
    }
    finish_if_complete(survey);
}

static void on_own_flush(void *argument) {
    struct survey *survey = argument;
    survey->own_is_missing = false;
    finish_if_complete(survey);
}

/* --- the others --------------------------------------------------------------------------------------------------- */

static bool is_among(const char *id, char (*const ids)[33], size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

/* Remembers who there is, and notes that somebody is gone. */
static void note_others(struct provisioner *provisioner, char (*const ids)[33], size_t count) {
    for (size_t i = 0; i < provisioner->known_others_count; i++) {
        if (!is_among(provisioner->known_others[i], ids, count)) {
            log_warning(NULL, "a node is gone: whom it served until now, nobody knows, so that all count as active");
            provisioner->not_idle_before_ms = clock_monotonic_ms();
        }
    }
    char(*copy)[33] = calloc(count + 1, sizeof *copy);
    if (copy != NULL) {
        if (count > 0) { /* else `ids` may be NULL, which memcpy() must not be given */
            memcpy(copy, ids, count * sizeof *copy);
        }
        free(provisioner->known_others);
        provisioner->known_others = copy;
        provisioner->known_others_count = count;
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct survey *survey = argument;
    log_warning(NULL, "%zu other nodes do not answer", survey->missing_count);
    survey->ok = false;
    survey->missing_count = 0;
    finish_if_complete(survey);
}

static bool ask_others(struct survey *survey, struct error *err) {
    struct provisioner *provisioner = survey->provisioner;
    const struct timeval patience = {.tv_sec = SURVEY_TIMEOUT_MS / 1000};
    if (provisioner->node == NULL) {
        return true;
    }
    if (!node_others(provisioner->node, &survey->missing, &survey->missing_count, err)) {
        return false;
    }
    note_others(provisioner, survey->missing, survey->missing_count);
    if (survey->missing_count == 0) {
        return true;
    }
    cleanup_json struct json_object *question = survey_question(survey->id, survey->is_of_activity);
    survey->timer = event_new(provisioner->base, -1, 0, on_timeout, survey);
    if (question == NULL || survey->timer == NULL || event_add(survey->timer, &patience) < 0) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < survey->missing_count; i++) {
        if (!node_send(provisioner->node, survey->missing[i], question, err)) {
            return false;
        }
    }
    return true;
}

bool survey_take(struct provisioner *provisioner, struct json_object *message) {
    const char *node = json_get_string(message, "node");
    int64_t id = json_get_int(message, SURVEY_ANSWER, -1);
    struct survey *survey = NULL;
    if (id < 0 || node == NULL) {
        return false;
    }
    DL_SEARCH_SCALAR(provisioner->surveys, survey, id, id);
    for (size_t i = 0; survey != NULL && i < survey->missing_count; i++) {
        if (strcmp(survey->missing[i], node) == 0) {
            memmove(&survey->missing[i], &survey->missing[i + 1],
                    (survey->missing_count - i - 1) * sizeof *survey->missing);
            survey->missing_count--;
            survey->ok = survey_read_answer(message, &survey->list) && survey->ok;
            note_loss(provisioner, json_get_int(message, SURVEY_LOST, -1));
            finish_if_complete(survey);
            break;
        }
    }
    return true;
}

/* --- both --------------------------------------------------------------------------------------------------------- */

static struct survey *begin(struct provisioner *provisioner, bool is_of_activity, void *argument) {
    struct error err;
    struct survey *survey = calloc(1, sizeof *survey);
    if (survey == NULL) {
        return NULL;
    }
    *survey = (struct survey){.provisioner = provisioner,
                              .id = ++provisioner->surveys_made,
                              .is_of_activity = is_of_activity,
                              .ok = true,
                              .own_is_missing = true,
                              .argument = argument};
    DL_APPEND(provisioner->surveys, survey);
    if (!ask_others(survey, &err)) {
        /* Who has no database knows the others only by what it saw last; alone, it is enough to ask itself. */
        survey->ok = !node_has_others(provisioner->node);
        survey->missing_count = 0;
        if (!survey->ok) {
            log_warning(NULL, "ask the other nodes: %s", err.message);
        }
    }
    return survey;
}

void survey_activity(struct provisioner *provisioner,
                     void (*done)(void *argument, bool ok, const struct route_activity *routes, size_t count),
                     void *argument) {
    struct survey *survey = begin(provisioner, true, argument);
    if (survey == NULL) {
        done(argument, false, NULL, 0);
        return;
    }
    survey->looked = done;
    haproxy_runtime_activity(provisioner->haproxy, on_own_activity, survey);
}

void survey_flush(struct provisioner *provisioner, void (*done)(void *argument), void *argument) {
    struct survey *survey = begin(provisioner, false, argument);
    if (survey == NULL) {
        map_flush(provisioner->routes, done, argument);
        return;
    }
    survey->flushed = done;
    map_flush(provisioner->routes, on_own_flush, survey);
}

int64_t survey_gate_report_ms(const struct provisioner *provisioner) {
    bool has_gate = (provisioner->server != NULL && ipc_server_has_reporter(provisioner->server)) ||
                    provisioner->known_others_count > 0;
    return has_gate ? IDLE_GATE_REPORT_MS : 0;
}

/* HAProxy calls nobody any more. */
void survey_free_all(struct provisioner *provisioner) {
    while (provisioner->surveys != NULL) {
        struct survey *survey = provisioner->surveys;
        survey->ok = false;
        tell(survey);
        survey_free(survey);
    }
    survey_forget_questions(provisioner);
    free(provisioner->known_others);
    provisioner->known_others = NULL;
}
