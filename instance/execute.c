/* execute.c - /execute: start commands, wait for them, read their output, write their input, kill them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/environment.h"
#include "instance/escapes.h"
#include "instance/files_text.h"
#include "instance/options.h"
#include "instance/process_table.h"
#include "instance/routes.h"
#include "instance/session_folders.h"
#include "instance/utf8.h"

#define WAIT_MAX_SECONDS   300.0
#define SMALL_ANSWER_BYTES 16384 /* sent in one piece, with its head */

/* ---- the answer: what is known of a process, with the part of its output that was asked for ---- */

struct part {
    int64_t offset; /* entries to skip */
    int64_t tail;   /* entries to show at most, the newest; 0: all */
};

/* The body of an answer as it is sent: text, then a part of the log, read as it is sent, then text. */
struct status_body {
    struct process *process;
    struct buffer head;
    struct buffer foot;
    size_t sent; /* of the text that is being sent */
    off_t position;
    off_t end;
};

static ssize_t take_text(struct status_body *body, const struct buffer *text, char *out, size_t size) {
    size_t left = text->length - body->sent;
    size_t length = left < size ? left : size;
    memcpy(out, text->data + body->sent, length);
    body->sent += length;
    return (ssize_t)length;
}

static ssize_t read_status(void *state, char *out, size_t size) {
    struct status_body *body = state;
    if (body->head.data != NULL) {
        ssize_t length = take_text(body, &body->head, out, size);
        if (body->sent == body->head.length) {
            buffer_free(&body->head);
            body->sent = 0;
        }
        return length;
    }
    if (body->position < body->end) {
        ssize_t length = output_log_read(body->process->log, body->position, body->end, out, size);
        body->position += length > 0 ? length : 0;
        return length > 0 ? length : HTTP_SOURCE_FAILED;
    }
    return body->sent < body->foot.length ? take_text(body, &body->foot, out, size) : HTTP_SOURCE_END;
}

static void release_status(void *state) {
    struct status_body *body = state;
    buffer_free(&body->head);
    buffer_free(&body->foot);
    process_release(body->process);
    free(body);
}

static void append_summary(struct buffer *out, const struct process *process) {
    buffer_append_format(out, "{\"id\":\"%s\",\"command\":", process->id);
    utf8_append_json(out, process->command, strlen(process->command));
    if (process->has_ended) {
        buffer_append_format(out, ",\"status\":\"done\",\"exit_code\":%d", process->exit_code);
    } else {
        buffer_append_string(out, ",\"status\":\"running\",\"exit_code\":null");
    }
}

static void append_log_path(struct buffer *out, const struct process *process) {
    buffer_append_string(out, ",\"log_path\":");
    utf8_append_json(out, process->log_path, strlen(process->log_path));
    buffer_append_string(out, "}");
}

/* Works out which entries to show. With a tail, the original's next_offset counts what it showed, not what there is. */
static bool choose_entries(struct status_body *body, const struct part *part, bool *is_truncated, uint64_t *next) {
    uint64_t count = output_log_count(body->process->log);
    uint64_t first = (uint64_t)part->offset < count ? (uint64_t)part->offset : count;
    *is_truncated = part->tail > 0 && count - first > (uint64_t)part->tail;
    *next = *is_truncated ? (uint64_t)(part->offset + part->tail) : count;
    if (*is_truncated) {
        first = count - (uint64_t)part->tail;
    }
    if (!output_log_range(body->process->log, first, &body->position, &body->end)) {
        return false;
    }
    if (body->end > body->position) {
        body->end--; /* the last line feed would become a comma too many */
    }
    return true;
}

/* Reads the whole body, of so many bytes, and takes it. */
static void respond_at_once(struct http_request *request, struct status_body *body, size_t length) {
    cleanup_buffer struct buffer answer = {0};
    char *space = buffer_reserve(&answer, length);
    ssize_t taken = 0;
    while (space != NULL && answer.length < length &&
           (taken = read_status(body, space + answer.length, length - answer.length)) > 0) {
        answer.length += (size_t)taken;
    }
    answer.failed = answer.length < length;
    release_status(body);
    http_respond_buffer(request, 200, "application/json", &answer);
}

static void respond_status(struct http_request *request, struct process *process, const struct part *part) {
    struct status_body *body = calloc(1, sizeof *body);
    if (body == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    body->process = process_reference(process);
    bool is_truncated = false;
    uint64_t next = 0;
    bool is_readable = choose_entries(body, part, &is_truncated, &next);
    append_summary(&body->head, process);
    buffer_append_string(&body->head, ",\"output\":[");
    buffer_append_format(&body->foot, "],\"truncated\":%s,\"next_offset\":%llu", is_truncated ? "true" : "false",
                         (unsigned long long)next);
    append_log_path(&body->foot, process);
    if (!is_readable || body->head.failed || body->foot.failed) {
        release_status(body);
        http_respond_error(request, 500, "The log of this command cannot be read");
        return;
    }
    uint64_t length = body->head.length + (uint64_t)(body->end - body->position) + body->foot.length;
    if (length <= SMALL_ANSWER_BYTES) {
        respond_at_once(request, body, length);
    } else {
        http_respond_source(request, 200, "application/json", length, read_status, body, release_status);
    }
}

/* ---- waiting: an event, not a poll ---- */

struct wait {
    struct http_request *request;
    struct process *process;
    struct process_waiter waiter;
    struct loop_timer timer;
    struct part part;
    bool is_for_kill;
};

static void answer_wait(struct wait *wait) {
    if (wait->is_for_kill) {
        static const char body[] = "{\"status\":\"killed\"}";
        http_respond_static(wait->request, 200, "application/json", body, sizeof body - 1);
    } else {
        respond_status(wait->request, wait->process, &wait->part);
    }
}

static void stop_waiting(struct wait *wait) {
    process_stop_waiting(wait->process, &wait->waiter);
    loop_timer_clear(http_instance(wait->request)->loop, &wait->timer);
}

static void on_end(struct process_waiter *waiter) {
    struct wait *wait = loop_owner(waiter, struct wait, waiter);
    stop_waiting(wait);
    answer_wait(wait);
}

static void on_wait_timeout(struct loop_timer *timer) {
    struct wait *wait = loop_owner(timer, struct wait, timer);
    stop_waiting(wait);
    answer_wait(wait);
}

static void release_wait(void *state) {
    struct wait *wait = state;
    stop_waiting(wait);
    process_settle(wait->process); /* whoever asked knows where its log is, and may ask for that next */
    process_release(wait->process);
    free(wait);
}

static void wait_for_end(struct http_request *request, struct process *process, int64_t timeout_ms,
                         const struct part *part, bool is_for_kill) {
    struct wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    *wait = (struct wait){
        .request = request,
        .process = process_reference(process),
        .waiter = {.ended = on_end},
        .timer = {.expired = on_wait_timeout},
        .part = *part,
        .is_for_kill = is_for_kill,
    };
    http_set_state(request, wait, release_wait);
    if (process->has_ended || timeout_ms <= 0) {
        answer_wait(wait);
        return;
    }
    process_wait(process, &wait->waiter);
    loop_timer_set(http_instance(request)->loop, &wait->timer, timeout_ms);
}

/* ---- the handlers ---- */

static struct process *find_process(struct http_request *request) {
    const char *id = http_path_parameter(request, "process_id", NULL);
    struct process *process = process_table_find(http_instance(request)->processes, id);
    if (process == NULL) {
        http_respond_error(request, 404, "Process not found");
    }
    return process;
}

static void read_wait(struct http_request *request, double wait_seconds, int64_t *wait_ms) {
    http_query_number(request, "wait", 0, WAIT_MAX_SECONDS, &wait_seconds);
    *wait_ms = (int64_t)(wait_seconds * 1000);
}

static void invalid_variable(struct http_request *request, const char *name, const char *type, const char *message,
                             struct json_object *value) {
    struct json_object *location = json_object_new_array_ext(3);
    json_object_array_add(location, json_object_new_string("body"));
    json_object_array_add(location, json_object_new_string("env"));
    json_object_array_add(location, json_object_new_string(name));
    http_invalid_at(request, type, location, message, json_object_get(value), NULL);
}

static bool holds_nul(const char *text, size_t length) {
    return text != NULL && memchr(text, '\0', length) != NULL;
}

/* "env": {"NAME": "value"}; JSON null is none. */
static void read_environment(struct http_request *request, struct json_object **environment) {
    struct json_object *member = NULL;
    if (!json_object_object_get_ex(http_json(request), "env", &member) || member == NULL) {
        return;
    }
    if (!json_object_is_type(member, json_type_object)) {
        http_invalid(request, "dict_type", "body", "env", "Input should be a valid dictionary", json_object_get(member),
                     NULL);
        return;
    }
    json_object_object_foreach(member, name, value) {
        if (!json_object_is_type(value, json_type_string)) {
            invalid_variable(request, name, "string_type", "Input should be a valid string", value);
        } else if (holds_nul(json_object_get_string(value), (size_t)json_object_get_string_len(value))) {
            invalid_variable(request, name, "value_error", "Value error, embedded null byte", value);
        }
    }
    *environment = member;
}

/* Opens the folder to start in: `path`, relative to home, or else the session's. Answers if it cannot. */
static int open_folder(struct http_request *request, const char *path) {
    const struct instance *instance = http_instance(request);
    cleanup_close int home = open(instance->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (path == NULL) {
        path = session_folder_get(instance->folders, http_header(request, "X-Session-Id"));
    } else if (path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
        path += 1 + strspn(path + 1, "/");
    }
    cleanup_close int folder = openat(home, *path != '\0' ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        http_respond_error(request, 404, "Directory not found");
    } else if (faccessat(folder, ".", X_OK, 0) != 0) {
        struct error err;
        error_set_path(&err, errno, path);
        http_respond_error(request, error_code_http_status(err.code), "%s", err.message);
        return -1;
    }
    return steal_fd(&folder);
}

static void start_command(struct http_request *request) {
    int64_t wait_ms = 0;
    struct part part = {0};
    const char *command = NULL;
    const char *path = NULL;
    size_t command_length = 0;
    size_t path_length = 0;
    struct json_object *extra = NULL;
    read_wait(request, http_instance(request)->options->execute_timeout, &wait_ms);
    http_query_integer(request, "tail", 1, INT64_MAX, &part.tail);
    http_json_text(request, "command", true, &command, &command_length);
    http_json_text(request, "cwd", false, &path, &path_length);
    read_environment(request, &extra);
    if (http_refused_as_invalid(request)) {
        return;
    }
    if (holds_nul(command, command_length) || holds_nul(path, path_length)) {
        http_respond_error(request, 400, "A command and its working directory cannot hold a NUL character");
        return;
    }
    cleanup_close int folder = open_folder(request, path);
    if (folder < 0) {
        return;
    }
    cleanup_free char **environment = environment_make(extra);
    struct error err = {.code = ERROR_INTERNAL, .message = "out of memory"};
    struct process *process = environment == NULL ? NULL
                                                  : process_table_start(http_instance(request)->processes, command,
                                                                        folder, environment, &err);
    if (process == NULL) {
        http_respond_error(request, error_code_http_status(err.code), "%s", err.message);
        return;
    }
    wait_for_end(request, process, wait_ms, &part, false);
}

static void list_commands(struct http_request *request) {
    cleanup_buffer struct buffer body = {0};
    buffer_append_string(&body, "[");
    for (struct process *process = process_table_first(http_instance(request)->processes); process != NULL;
         process = process->next) {
        process_settle(process);
        append_summary(&body, process);
        append_log_path(&body, process);
        if (process->next != NULL) {
            buffer_append_string(&body, ",");
        }
    }
    buffer_append_string(&body, "]");
    http_respond_buffer(request, 200, "application/json", &body);
}

static void get_status(struct http_request *request) {
    int64_t wait_ms = 0;
    struct part part = {0};
    read_wait(request, 0, &wait_ms);
    http_query_integer(request, "offset", 0, INT64_MAX, &part.offset);
    http_query_integer(request, "tail", 1, INT64_MAX, &part.tail);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct process *process = find_process(request);
    if (process != NULL) {
        wait_for_end(request, process, wait_ms, &part, false);
    }
}

static void send_input(struct http_request *request) {
    const char *input = NULL;
    size_t length = 0;
    http_json_text(request, "input", true, &input, &length);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct process *process = find_process(request);
    if (process == NULL) {
        return;
    }
    cleanup_free char *decoded = malloc(length + 1);
    if (decoded == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    memcpy(decoded, input, length);
    struct error err;
    if (!process_write(process, decoded, escapes_decode(decoded, length), &err)) {
        http_respond_error(request, error_code_http_status(err.code), "%s", err.message);
        return;
    }
    static const char body[] = "{\"status\":\"ok\"}";
    http_respond_static(request, 200, "application/json", body, sizeof body - 1);
}

static void kill_command(struct http_request *request) {
    bool by_force = false;
    http_query_boolean(request, "force", &by_force);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct process *process = find_process(request);
    if (process == NULL) {
        return;
    }
    process_reference(process);
    process_table_remove(http_instance(request)->processes, process);
    process_kill(process, by_force);
    static const struct part nothing = {0};
    wait_for_end(request, process, 2 * PROCESS_TERM_GRACE_MS, &nothing, true);
    process_release(process);
}

const struct http_route execute_routes[] = {
    {.method = "GET", .pattern = "/execute", .handle = list_commands},
    {.method = "POST", .pattern = "/execute", .body = HTTP_BODY_JSON, .handle = start_command},
    {.method = "GET", .pattern = "/execute/{process_id}/status", .handle = get_status},
    {.method = "POST", .pattern = "/execute/{process_id}/input", .body = HTTP_BODY_JSON, .handle = send_input},
    {.method = "DELETE", .pattern = "/execute/{process_id}", .handle = kill_command},
    HTTP_ROUTES_END,
};
