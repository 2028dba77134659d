/* instance.h - what one running instance consists of. Handlers get at it with http_instance(). */
#ifndef TERMINALS_INSTANCE_INSTANCE_H
#define TERMINALS_INSTANCE_INSTANCE_H

struct http_server;
struct loop;
struct mcp;
struct process_table;
struct terminal_table;
struct session_folders;

struct options;

struct instance {
    const struct options *options;
    const char *api_key; /* NULL: no key is asked for */
    const char *home;    /* absolute, without a trailing slash: relative paths start here */
    const char *cors_allowed_origins;
    unsigned port; /* our own, which /ports leaves out */
    struct loop *loop;
    struct http_server *server;
    struct session_folders *folders;
    struct process_table *processes;
    struct terminal_table *terminals;
    struct mcp *mcp;                  /* NULL unless this is `open-terminal mcp` */
    struct work_thread *work_threads; /* that run; work.c keeps the list */
    struct notebook *notebooks;       /* sessions; notebooks.c keeps the list */
    struct proxy_tunnel *tunnels;     /* WebSockets that are relayed; proxy_tunnel.c keeps the list */
    char *description;                /* system_info_describe(), once somebody asked for it; else NULL */
};

#endif
