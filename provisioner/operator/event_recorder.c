#include "provisioner/operator/event_recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_json.h"

#define COMPONENT    "terminals-operator"
#define TIMEOUT_MS   10000
#define PENDING_MAX  100
#define SUFFIX_BYTES 8
#define MESSAGE_MAX  1024 /* bytes, of an event's `message` */

struct record {
    struct event_recorder *recorder;
    struct kubernetes_call *call;
    struct record *prev, *next;
};

struct event_recorder {
    struct kubernetes_client *client;
    const char *namespace_name;
    const char *api_version;
    struct record *records;
    int pending;
};

static void record_free(struct record *record) {
    DL_DELETE(record->recorder->records, record);
    record->recorder->pending--;
    kubernetes_call_cancel(record->call);
    free(record);
}

static void on_written(void *argument, const struct kubernetes_answer *answer) {
    struct record *record = argument;
    record->call = NULL;
    if (answer->status != 201) {
        log_debug(NULL, "an event is lost: %d %s", answer->status, answer->message);
    }
    record_free(record);
}

static bool fill_object(const struct event_recorder *recorder, const struct kubernetes_terminal *terminal,
                        struct json_object *object) {
    return object != NULL && json_add_string(object, "apiVersion", recorder->api_version) &&
           json_add_string(object, "kind", KUBERNETES_TERMINAL_KIND) &&
           json_add_string(object, "namespace", recorder->namespace_name) &&
           json_add_string(object, "name", terminal->item.name) && json_add_string(object, "uid", terminal->item.uid);
}

static bool fill(const struct event_recorder *recorder, const struct kubernetes_terminal *terminal,
                 struct json_object *event) {
    struct json_object *metadata = kubernetes_json_object(event, "metadata");
    struct json_object *source = kubernetes_json_object(event, "source");
    char now[CLOCK_RFC3339_SIZE];
    char suffix[2 * SUFFIX_BYTES + 1];
    char name[sizeof terminal->item.name + sizeof suffix];
    clock_format_rfc3339(clock_unix_ms() / 1000 * 1000, now);
    if (metadata == NULL || source == NULL || !digest_random_hex(SUFFIX_BYTES, suffix)) {
        return false;
    }
    snprintf(name, sizeof name, "%s.%s", terminal->item.name, suffix);
    return json_add_string(event, "apiVersion", "v1") && json_add_string(event, "kind", "Event") &&
           json_add_string(metadata, "name", name) &&
           fill_object(recorder, terminal, kubernetes_json_object(event, "involvedObject")) &&
           json_add_string(source, "component", COMPONENT) && json_add_string(event, "firstTimestamp", now) &&
           json_add_string(event, "lastTimestamp", now) && json_add_int(event, "count", 1);
}

void event_record(struct event_recorder *recorder, const struct kubernetes_terminal *terminal, bool is_warning,
                  const char *reason, const char *message) {
    cleanup_json struct json_object *event = json_object_new_object();
    struct record *record = event == NULL || recorder->pending >= PENDING_MAX ? NULL : calloc(1, sizeof *record);
    char text[MESSAGE_MAX];
    snprintf(text, sizeof text, "%s", message);
    if (record == NULL || !fill(recorder, terminal, event) ||
        !json_add_string(event, "type", is_warning ? "Warning" : "Normal") ||
        !json_add_string(event, "reason", reason) || !json_add_string(event, "message", text)) {
        free(record);
        return;
    }
    const struct kubernetes_request request = {
        .method = "POST", .kind = "events", .body = event, .timeout_ms = TIMEOUT_MS};
    record->recorder = recorder;
    recorder->pending++;
    DL_APPEND(recorder->records, record);
    record->call = kubernetes_call_start(recorder->client, &request, on_written, record);
    if (record->call == NULL) {
        record_free(record);
    }
}

struct event_recorder *event_recorder_open(struct kubernetes_client *client, const char *namespace_name,
                                           const char *api_version) {
    struct event_recorder *recorder = calloc(1, sizeof *recorder);
    if (recorder != NULL) {
        recorder->client = client;
        recorder->namespace_name = namespace_name;
        recorder->api_version = api_version;
    }
    return recorder;
}

void event_recorder_close(struct event_recorder *recorder) {
    while (recorder != NULL && recorder->records != NULL) {
        record_free(recorder->records);
    }
    free(recorder);
}
