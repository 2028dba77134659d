/* curl_loop.h - libcurl's multi interface on the event loop: who adds an easy handle here is told how it ended.
 *
 * Both callbacks come from the event loop and never from inside libcurl, so that they may add and remove handles. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_CURL_LOOP_H
#define TERMINALS_PROVISIONER_BACKENDS_CURL_LOOP_H

#include <curl/curl.h>
#include <event2/event.h>
#include <stdbool.h>

struct curl_loop;

struct curl_loop_callbacks {
    void *argument;
    void (*progressed)(void *argument);                         /* something may have arrived; before `ended` */
    void (*ended)(void *argument, CURL *easy, CURLcode result); /* still added: the callee removes it */
};

/* NULL: no memory. */
struct curl_loop *curl_loop_open(struct event_base *base, const struct curl_loop_callbacks *callbacks);

/* After every handle has been removed. NULL is fine. */
void curl_loop_close(struct curl_loop *loop);

/* To one host at a time; what goes beyond waits inside libcurl. Without it there is no limit. */
void curl_loop_limit_connections(struct curl_loop *loop, long most);

/* Begins a transfer, and gives one up or tidies up after it. False: no memory. The handle stays the caller's. */
bool curl_loop_add(struct curl_loop *loop, CURL *easy);
void curl_loop_remove(struct curl_loop *loop, CURL *easy);

#endif
