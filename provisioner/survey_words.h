/* survey_words.h - what a survey's messages look like. For survey.c and survey_answer.c. */
#ifndef TERMINALS_PROVISIONER_SURVEY_WORDS_H
#define TERMINALS_PROVISIONER_SURVEY_WORDS_H

#include "common/json.h"
#include "provisioner/haproxy_activity.h"
#include "provisioner/provisioner.h"

#define SURVEY_QUESTION "asked" /* its id; `activity` says what is asked */
#define SURVEY_ANSWER   "told"  /* the same id; `node`, `ok`, `routes`, SURVEY_LOST */
#define SURVEY_LOST     "lost_ms_ago"

/* NULL: no memory. */
struct json_object *survey_question(int64_t id, bool is_of_activity);

/* Adds what an answer holds; false: it says that its node does not know, or makes no sense. */
bool survey_read_answer(struct json_object *message, struct route_activity_list *list);

/* Appends a copy. False: no memory. */
bool survey_list_add(struct route_activity_list *list, const struct route_activity *route);

/* How long ago an HAProxy of this node ended; -1: none has. */
int64_t survey_lost_ms_ago(const struct provisioner *provisioner);

/* Those that are not answered yet. */
void survey_forget_questions(struct provisioner *provisioner);

#endif
