#include "instance/terminal_table.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "instance/environment.h"
#include "instance/guardian.h"
#include "instance/loop.h"
#include "instance/options.h"
#include "instance/scrollback.h"
#include "instance/terminal_client.h"
#include "instance/websocket.h"

#define READ_BYTES       (32 * 1024)
#define READS_AT_END     8 /* 256 KB: a terminal holds some dozen */
#define TERMINAL_ROWS    24
#define TERMINAL_COLUMNS 80

/* What the other files need not know. */
struct open_terminal {
    struct terminal terminal; /* first: the two are the same address */
    struct terminal_table *table;
    struct guardian guardian;
    struct loop_watch output;
    struct loop_watch reports;
    struct loop_timer linger;
    struct buffer input;             /* typed, and not read by the shell yet */
    struct terminal_client *clients; /* attached */
    struct scrollback scrollback;    /* only where shells are kept alive */
};

struct terminal_table {
    struct instance *instance;
    struct terminal *first;
    size_t count;
    struct terminal_client *all_clients; /* attached or not */
};

static struct open_terminal *inside(struct terminal *terminal) {
    return (struct open_terminal *)terminal;
}

struct terminal_table *terminal_table_new(struct instance *instance) {
    struct terminal_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        table->instance = instance;
    }
    return table;
}

void terminal_table_free(struct terminal_table *table) {
    if (table == NULL) {
        return;
    }
    while (table->all_clients != NULL) {
        terminal_client_drop(table->all_clients);
    }
    while (table->first != NULL) {
        terminal_close(table, table->first);
    }
    free(table);
}

struct terminal *terminal_first(struct terminal_table *table) {
    return table->first;
}

struct terminal_client **terminal_all_clients(struct terminal_table *table) {
    return &table->all_clients;
}

struct instance *terminal_table_instance(struct terminal_table *table) {
    return table->instance;
}

struct terminal *terminal_find(struct terminal_table *table, const char *id) {
    struct terminal *terminal = table->first;
    while (terminal != NULL && strcmp(terminal->id, id) != 0) {
        terminal = terminal->next;
    }
    return terminal;
}

static void release(struct open_terminal *open_terminal) {
    struct loop *loop = open_terminal->table->instance->loop;
    loop_timer_clear(loop, &open_terminal->linger);
    if (open_terminal->output.fd >= 0) {
        loop_watch_remove(loop, &open_terminal->output);
        close(open_terminal->output.fd);
    }
    if (open_terminal->reports.fd >= 0) {
        loop_watch_remove(loop, &open_terminal->reports);
        close(open_terminal->reports.fd);
    }
    buffer_free(&open_terminal->input);
    scrollback_free(&open_terminal->scrollback);
    free(open_terminal->terminal.id);
    free(open_terminal);
}

void terminal_close(struct terminal_table *table, struct terminal *terminal) {
    struct open_terminal *open_terminal = inside(terminal);
    struct terminal **at = &table->first;
    while (*at != terminal) {
        at = &(*at)->next;
    }
    *at = terminal->next;
    table->count--;
    while (open_terminal->clients != NULL) {
        struct terminal_client *client = open_terminal->clients;
        open_terminal->clients = client->next_of_terminal;
        terminal_client_end(client);
    }
    kill(open_terminal->guardian.pid, SIGHUP);
    release(open_terminal);
}

/* ---- bytes, both ways ---- */

/* Shells outlive their clients, and what they write meanwhile is kept. */
static bool is_kept_alive(const struct open_terminal *open_terminal) {
    return open_terminal->table->instance->options->session_keepalive_seconds > 0;
}

/* The shell is read while somebody is there to see it (or it is kept for who comes later) and nobody is too far behind:
 * a client that stops reading stops the shell, not our memory. */
static bool may_read(const struct open_terminal *open_terminal) {
    for (const struct terminal_client *client = open_terminal->clients; client != NULL;
         client = client->next_of_terminal) {
        if (websocket_queued_bytes(client->websocket) > TERMINAL_QUEUE_MAX_BYTES) {
            return false;
        }
    }
    return open_terminal->clients != NULL || is_kept_alive(open_terminal);
}

static void update_watch(struct open_terminal *open_terminal) {
    uint32_t events = may_read(open_terminal) ? EPOLLIN : 0;
    if (open_terminal->input.length > 0) {
        events |= EPOLLOUT;
    }
    if (open_terminal->output.fd >= 0) {
        loop_watch_set(open_terminal->table->instance->loop, &open_terminal->output, events);
    }
}

/* Reads what there is, up to READ_BYTES, and sends it to all as one message. False when there was nothing. */
static bool forward_output(struct open_terminal *open_terminal) {
    char bytes[READ_BYTES];
    size_t used = 0;
    while (open_terminal->output.fd >= 0 && used < sizeof bytes) {
        ssize_t length = read(open_terminal->output.fd, bytes + used, sizeof bytes - used);
        if (length > 0) {
            used += (size_t)length;
        } else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
            /* EIO: nobody has the other side open. The end of the shell comes as a report. */
            loop_watch_remove(open_terminal->table->instance->loop, &open_terminal->output);
            close(open_terminal->output.fd);
            open_terminal->output.fd = -1;
        } else if (errno == EAGAIN) {
            break;
        }
    }
    if (used > 0 && is_kept_alive(open_terminal)) {
        scrollback_append(&open_terminal->scrollback, bytes, used);
    }
    for (struct terminal_client *client = used > 0 ? open_terminal->clients : NULL; client != NULL;
         client = client->next_of_terminal) {
        terminal_client_send(client, bytes, used);
    }
    return used > 0;
}

static void pause_clients(struct open_terminal *open_terminal, bool is_paused) {
    for (struct terminal_client *client = open_terminal->clients; client != NULL; client = client->next_of_terminal) {
        websocket_pause(client->websocket, is_paused);
    }
}

static void write_input(struct open_terminal *open_terminal) {
    bool was_full = open_terminal->input.length > TERMINAL_QUEUE_MAX_BYTES;
    size_t written = 0;
    while (open_terminal->output.fd >= 0 && written < open_terminal->input.length) {
        ssize_t length =
            write(open_terminal->output.fd, open_terminal->input.data + written, open_terminal->input.length - written);
        if (length > 0) {
            written += (size_t)length;
        } else if (length == 0 || errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            written = open_terminal->input.length;
        }
    }
    buffer_consume(&open_terminal->input, written);
    if (open_terminal->input.length == 0) {
        buffer_free(&open_terminal->input);
    }
    if (was_full && open_terminal->input.length <= TERMINAL_QUEUE_MAX_BYTES) {
        pause_clients(open_terminal, false);
    }
    update_watch(open_terminal);
}

void terminal_type(struct terminal *terminal, const char *bytes, size_t length) {
    struct open_terminal *open_terminal = inside(terminal);
    if (!buffer_append(&open_terminal->input, bytes, length)) {
        return;
    }
    write_input(open_terminal);
    if (open_terminal->input.length > TERMINAL_QUEUE_MAX_BYTES) {
        pause_clients(open_terminal, true);
    }
}

void terminal_resize(struct terminal *terminal, unsigned short rows, unsigned short columns) {
    struct open_terminal *open_terminal = inside(terminal);
    if (open_terminal->output.fd >= 0) {
        guardian_resize(&open_terminal->guardian, rows, columns);
    }
}

void terminal_go_on(struct terminal *terminal) {
    update_watch(inside(terminal));
}

static void on_output(struct loop_watch *watch, uint32_t events) {
    struct open_terminal *open_terminal = loop_owner(watch, struct open_terminal, output);
    if ((events & EPOLLOUT) != 0) {
        write_input(open_terminal);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        return;
    }
    if (may_read(open_terminal)) {
        forward_output(open_terminal);
    } else if ((events & EPOLLHUP) != 0) {
        /* Would be reported again and again; the report of the end follows and reads the rest. */
        loop_watch_remove(open_terminal->table->instance->loop, &open_terminal->output);
        return;
    }
    update_watch(open_terminal);
}

/* ---- clients ---- */

void terminal_attach(struct terminal *terminal, struct terminal_client *client) {
    struct open_terminal *open_terminal = inside(terminal);
    struct scrollback_piece pieces[2];
    loop_timer_clear(open_terminal->table->instance->loop, &open_terminal->linger);
    scrollback_read(&open_terminal->scrollback, pieces);
    for (size_t i = 0; i < 2; i++) {
        if (pieces[i].length > 0) {
            terminal_client_send(client, pieces[i].bytes, pieces[i].length);
        }
    }
    client->next_of_terminal = open_terminal->clients;
    open_terminal->clients = client;
    update_watch(open_terminal);
}

void terminal_detach(struct terminal *terminal, struct terminal_client *client) {
    struct open_terminal *open_terminal = inside(terminal);
    struct terminal_client **at = &open_terminal->clients;
    while (*at != client) {
        at = &(*at)->next_of_terminal;
    }
    *at = client->next_of_terminal;
    if (open_terminal->clients == NULL) {
        double keepalive_seconds = open_terminal->table->instance->options->session_keepalive_seconds;
        loop_timer_set(open_terminal->table->instance->loop, &open_terminal->linger,
                       keepalive_seconds > 0 ? (int64_t)(keepalive_seconds * 1000) : TERMINAL_LINGER_MS);
    }
    update_watch(open_terminal);
}

static void on_linger_end(struct loop_timer *timer) {
    struct open_terminal *open_terminal = loop_owner(timer, struct open_terminal, linger);
    terminal_close(open_terminal->table, &open_terminal->terminal);
}

/* ---- the shell ---- */

static void on_report(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct open_terminal *open_terminal = loop_owner(watch, struct open_terminal, reports);
    struct guardian_report report;
    int result;
    while ((result = guardian_read_report(&open_terminal->guardian, &report)) > 0 && report.kind != GUARDIAN_ENDED) {
    }
    if (result == 0) {
        return;
    }
    /* The shell has ended. Its last words are in the terminal still; after them may come what a background job writes,
     * without end. */
    for (int reads = READS_AT_END; open_terminal->clients != NULL && reads > 0 && forward_output(open_terminal);) {
        reads--;
    }
    terminal_close(open_terminal->table, &open_terminal->terminal);
}

static bool launch(struct open_terminal *open_terminal, int folder, struct error *err) {
    const char *path = environment_shell();
    char *arguments[] = {(char *)strrchr(path, '/') + 1, NULL};
    cleanup_json struct json_object *extra = json_object_new_object();
    if (extra == NULL || !json_add_string(extra, "TERM", open_terminal->table->instance->options->term)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_free char **environment = environment_make(extra);
    if (environment == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct guardian_program program = {
        .path = path,
        .arguments = arguments,
        .environment = environment,
        .folder = folder,
        .rows = TERMINAL_ROWS,
        .columns = TERMINAL_COLUMNS,
    };
    if (!guardian_start(&program, &open_terminal->guardian, err)) {
        return false;
    }
    open_terminal->output = (struct loop_watch){.fd = open_terminal->guardian.terminal, .ready = on_output};
    open_terminal->reports = (struct loop_watch){.fd = open_terminal->guardian.reports, .ready = on_report};
    open_terminal->terminal.pid = guardian_wait_for_start(&open_terminal->guardian, err);
    struct loop *loop = open_terminal->table->instance->loop;
    bool is_running = open_terminal->terminal.pid >= 0 || error_prefix(err, "start a shell");
    if (is_running && (!loop_watch_set(loop, &open_terminal->output, is_kept_alive(open_terminal) ? EPOLLIN : 0) ||
                       !loop_watch_set(loop, &open_terminal->reports, EPOLLIN))) {
        is_running = error_set_errno(err, ERROR_CAPACITY, "watch a shell");
    }
    if (!is_running) {
        kill(open_terminal->guardian.pid, SIGTERM);
    }
    return is_running;
}

static char *random_id(void) {
    unsigned char random[4];
    while (getrandom(random, sizeof random, 0) != sizeof random) {
        /* Only a signal in early boot interrupts it (getrandom(2)). */
    }
    char *id = NULL;
    return asprintf(&id, "%02x%02x%02x%02x", random[0], random[1], random[2], random[3]) < 0 ? NULL : id;
}

static void format_now(char out[TERMINAL_CREATED_AT_SIZE]) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t length = strftime(out, TERMINAL_CREATED_AT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + length, TERMINAL_CREATED_AT_SIZE - length, ".%06ldZ", now.tv_nsec / 1000);
}

static struct open_terminal *terminal_new(struct terminal_table *table, const char *id, int folder, struct error *err) {
    struct open_terminal *open_terminal = calloc(1, sizeof *open_terminal);
    if (open_terminal == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    open_terminal->table = table;
    open_terminal->output.fd = -1;
    open_terminal->reports.fd = -1;
    open_terminal->linger.expired = on_linger_end;
    open_terminal->terminal.id = id != NULL ? strdup(id) : random_id();
    format_now(open_terminal->terminal.created_at);
    if (open_terminal->terminal.id == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    } else if (launch(open_terminal, folder, err)) {
        return open_terminal;
    }
    release(open_terminal);
    return NULL;
}

/* A shell that nobody may want any more makes room for one that somebody wants: the one that was left first. */
static struct terminal *find_lingering(struct terminal_table *table) {
    struct terminal *found = NULL;
    for (struct terminal *terminal = table->first; terminal != NULL; terminal = terminal->next) {
        const struct loop_timer *linger = &inside(terminal)->linger;
        if (linger->is_set && (found == NULL || linger->due_ms < inside(found)->linger.due_ms)) {
            found = terminal;
        }
    }
    return found;
}

struct terminal *terminal_open(struct terminal_table *table, const char *id, int folder, struct error *err) {
    struct terminal *old = id != NULL ? terminal_find(table, id) : NULL;
    if (old == NULL && table->count >= table->instance->options->max_sessions) {
        old = find_lingering(table);
    }
    if (table->count - (old != NULL ? 1 : 0) >= table->instance->options->max_sessions) {
        error_set(err, ERROR_CAPACITY, "Maximum number of terminal sessions (%d) reached",
                  (int)table->instance->options->max_sessions);
        return NULL;
    }
    struct open_terminal *open_terminal = terminal_new(table, id, folder, err);
    if (open_terminal == NULL) {
        return NULL;
    }
    if (old != NULL) {
        terminal_close(table, old); /* only now: without the new one there is no reason to */
    }
    struct terminal **last = &table->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = &open_terminal->terminal;
    table->count++;
    return &open_terminal->terminal;
}
