/* siem_sender.h - posts one body at a time to the SIEM webhook, from a thread of its own: name resolution, TLS and a
 * slow receiver cost the event loop nothing. It knows nothing of events, queues or retries. */
#ifndef TERMINALS_PROVISIONER_SIEM_SENDER_H
#define TERMINALS_PROVISIONER_SIEM_SENDER_H

#include <event2/event.h>
#include <stdint.h>

#include "common/error.h"

#define SIEM_CONNECT_TIMEOUT_SECONDS 5
#define SIEM_POST_TIMEOUT_SECONDS    10
#define SIEM_ANSWER_MAX_BYTES        (64 * 1024) /* of a body that nobody reads; more, and the connection is closed */

struct siem_sender;

struct siem_answer {
    int status;            /* 0: no HTTP answer */
    int64_t retry_after_s; /* 0: it does not say */
    char failure[160];     /* why there is no answer: no URL, no secret */
};

/* `token`: NULL, or what `Authorization` shall carry: as it stands if it holds a space ("Splunk 0000-…"), else as a
 * bearer token. `done` is called on the event loop once for each post. NULL with *err, which does not quote the URL. */
struct siem_sender *siem_sender_open(const char *url, const char *token, struct event_base *base,
                                     void (*done)(void *argument, const struct siem_answer *answer), void *argument,
                                     struct error *err);

/* Gives up what is under way, at once; `done` is not called any more. NULL is fine. */
void siem_sender_close(struct siem_sender *sender);

/* Posts a JSON text, taken over. Not before `done` of the last one. */
void siem_sender_post(struct siem_sender *sender, char *body);

#endif
