/* terminal_table.h - the shells that /api/terminals opened, and the WebSockets attached to them.
 *
 * A shell's life: opened → attached (any number of clients; all see its output, any may type) → lingering (the last
 * client went away: it has options.session_keepalive_seconds to come back, TERMINAL_LINGER_MS where that is 0) → gone.
 * It also goes when it exits, or is closed; its clients then get close code 1000. Where shells are kept alive, what
 * they write is read and kept (scrollback.h) while nobody is there, and who attaches gets that first. */
#ifndef TERMINALS_INSTANCE_TERMINAL_TABLE_H
#define TERMINALS_INSTANCE_TERMINAL_TABLE_H

#include <sys/types.h>

#include "common/error.h"
#include "instance/instance.h"

#define TERMINAL_LINGER_MS       1000
#define TERMINAL_QUEUE_MAX_BYTES (64 * 1024) /* towards a client, or towards the shell: then reading stops */
#define TERMINAL_CREATED_AT_SIZE 32

struct terminal_table;
struct terminal_client;

struct terminal {
    char *id;
    char created_at[TERMINAL_CREATED_AT_SIZE]; /* RFC 3339 with microseconds */
    pid_t pid;
    struct terminal *next; /* in the table, oldest first */
};

/* NULL: no memory. */
struct terminal_table *terminal_table_new(struct instance *instance);
/* Hangs up every shell and cuts every WebSocket. */
void terminal_table_free(struct terminal_table *table);

/* Opens a shell in the open directory `folder`. `id` may be NULL: a new one is made; one in use means that shell is
 * closed once the new one runs. Borrowed; NULL with *err, ERROR_CAPACITY when there are options.max_sessions or no
 * shell can be started: then no other was closed. */
struct terminal *terminal_open(struct terminal_table *table, const char *id, int folder, struct error *err);
struct terminal *terminal_find(struct terminal_table *table, const char *id);
struct terminal *terminal_first(struct terminal_table *table);
void terminal_close(struct terminal_table *table, struct terminal *terminal);

/* ---- what a client does (terminal_client.c) ---- */

struct terminal_client **
terminal_all_clients(struct terminal_table *table); /* the list that a client puts itself into */
struct instance *terminal_table_instance(struct terminal_table *table);

/* The client gets what the scrollback holds, and all output from then on, until it is detached. A shell that nobody is
 * attached to any more goes on for a while. */
void terminal_attach(struct terminal *terminal, struct terminal_client *client);
void terminal_detach(struct terminal *terminal, struct terminal_client *client);

/* Types into the shell. */
void terminal_type(struct terminal *terminal, const char *bytes, size_t length);
void terminal_resize(struct terminal *terminal, unsigned short rows, unsigned short columns);

/* A client has written all that waited for it. */
void terminal_go_on(struct terminal *terminal);

#endif
