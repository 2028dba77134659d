/* survey.h - what is asked of HAProxy here, and of every other node's: who is active, and that a route is gone.
 *
 * Other nodes are those that live by the database's account; one that lives and does not answer leaves the question
 * open, and one that has died since the last survey may have served anybody until then
 * (provisioner->not_idle_before_ms); so may an HAProxy that has ended. */
#ifndef TERMINALS_PROVISIONER_SURVEY_H
#define TERMINALS_PROVISIONER_SURVEY_H

#include "provisioner/provisioner.h"

#define SURVEY_FAILED     "HAProxy does not say who is active"
#define SURVEY_TIMEOUT_MS 5000

/* Calls `done` once with all that is known: a route may occur several times. Not ok: nobody may be called idle. */
void survey_activity(struct provisioner *provisioner,
                     void (*done)(void *argument, bool ok, const struct route_activity *routes, size_t count),
                     void *argument);

/* Calls `done` once no HAProxy holds a route any more that was withdrawn before this call, or after a time. */
void survey_flush(struct provisioner *provisioner, void (*done)(void *argument), void *argument);

/* How long after that the gates may take to report what they relay, if there is any gate. */
int64_t survey_gate_report_ms(const struct provisioner *provisioner);

/* A message of another node is an answer, and has been taken. */
bool survey_take(struct provisioner *provisioner, struct json_object *message);

/* The other side: answers the question `message` of the leader. False: it is none. */
bool survey_answer(struct provisioner *provisioner, struct json_object *message);

/* At the end: whoever waits for one is told that it failed. */
void survey_free_all(struct provisioner *provisioner);

#endif
