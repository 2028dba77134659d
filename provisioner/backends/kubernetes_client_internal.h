/* kubernetes_client_internal.h - between kubernetes_client.c and kubernetes_call.c only. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CLIENT_INTERNAL_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CLIENT_INTERNAL_H

#include "provisioner/backends/curl_loop.h"
#include "provisioner/backends/kubernetes_client.h"

struct kubernetes_client {
    struct event_base *base;
    struct curl_loop *loop;
    struct kubernetes_config config;
    char *namespace_name;
    struct curl_slist *connect_to; /* for config.server_name */
    char *origin;                  /* the server as URLs name it */
    struct kubernetes_call *calls;
};

/* The callbacks of `loop`; `argument` is the client. */
void kubernetes_call_progressed(void *argument);
void kubernetes_call_ended(void *argument, CURL *easy, CURLcode result);

#endif
