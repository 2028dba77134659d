/* node_internal.h - what node.c (life and election) and node_words.c (what is told) share. Not for others. */
#ifndef TERMINALS_PROVISIONER_NODE_INTERNAL_H
#define TERMINALS_PROVISIONER_NODE_INTERNAL_H

#include "provisioner/node.h"
#include "provisioner/node_id.h"

/* An announcement, in or out. */
struct word {
    struct word *prev, *next;
    char text[];
};

struct node {
    const struct settings *settings;
    const struct backend_operations *operations;
    struct event_base *base;
    struct ipc_server *server;
    struct store *store;
    struct node_store *nodes;
    char id[NODE_ID_SIZE];
    int id_lock; /* -1: none */
    char name[256];
    struct node_role role;
    struct vault *vault; /* what is sent is sealed with it; NULL: nobody has a role yet */

    int64_t term; /* 0: follows */
    bool succeeds_another;
    struct node_state state; /* as of the last beat that was heard */
    int64_t renewed_ms;      /* the last beat that renewed the lead; monotonic, as are the others */
    int64_t lease_ms;        /* what it may count on since then */
    int64_t led_ms;
    int64_t tidied_ms;
    struct event *beat;

    unsigned generation; /* of the connection that is watched */
    evutil_socket_t socket;
    struct event *readable;
    struct event *turn; /* works off what has come, and says what is to be said */
    struct word *heard;
    struct word *to_say;
    size_t to_say_count;
    bool has_mail;
};

/* In node_words.c: called by the store, and for all that has come and is to go. */
void node_hear(void *argument, const char *payload);
void node_work_off(struct node *node);
void node_forget_words(struct node *node);

#endif
