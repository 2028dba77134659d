#include "provisioner/backends/kubernetes_terminal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/names.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_names.h"

char *kubernetes_terminals_api(const struct settings *settings) {
    char *api = NULL;
    return asprintf(&api, "apis/%s/%s", settings->kubernetes_crd_group, settings->kubernetes_crd_version) < 0 ? NULL
                                                                                                              : api;
}

char *kubernetes_terminals_api_version(const struct settings *settings) {
    char *version = NULL;
    return asprintf(&version, "%s/%s", settings->kubernetes_crd_group, settings->kubernetes_crd_version) < 0 ? NULL
                                                                                                             : version;
}

/* --- what is read ------------------------------------------------------------------------------------------------- */

static void free_terminal(struct kubernetes_item *item) {
    struct kubernetes_terminal *terminal = (struct kubernetes_terminal *)item;
    json_object_put(terminal->json);
    free(terminal);
}

static int64_t time_of(struct json_object *object, const char *name) {
    const char *text = json_get_string(object, name);
    int64_t unix_ms = 0;
    return text != NULL && clock_parse_rfc3339(text, &unix_ms) ? unix_ms : 0;
}

static struct kubernetes_item *read_terminal(struct json_object *json) {
    struct kubernetes_terminal *terminal = calloc(1, sizeof *terminal);
    if (terminal == NULL) {
        return NULL;
    }
    terminal->json = json_object_get(json);
    terminal->metadata = json_get_object(json, "metadata");
    terminal->spec = json_get_object(json, "spec");
    terminal->status = json_get_object(json, "status");
    if (!kubernetes_item_read(&terminal->item, terminal->metadata)) {
        free_terminal(&terminal->item);
        return NULL;
    }
    terminal->is_going = json_get_string(terminal->metadata, "deletionTimestamp") != NULL;
    terminal->created_ms = time_of(terminal->metadata, "creationTimestamp");
    terminal->active_ms = time_of(terminal->status, "lastActivityAt");
    return &terminal->item;
}

struct kubernetes_watch_kind kubernetes_terminals_kind(const char *api) {
    return (struct kubernetes_watch_kind){
        .api = api,
        .kind = KUBERNETES_TERMINALS,
        .read = read_terminal,
        .free = free_terminal,
    };
}

const struct kubernetes_terminal *kubernetes_terminal_of(const struct kubernetes_item *item) {
    _Static_assert(offsetof(struct kubernetes_terminal, item) == 0, "an item is the first member of its kind");
    return (const struct kubernetes_terminal *)item;
}

const struct kubernetes_terminal *kubernetes_terminals_find(const struct kubernetes_watch *terminals,
                                                            const char *name) {
    return kubernetes_terminal_of(kubernetes_watch_find(terminals, name));
}

const char *kubernetes_terminal_phase(const struct kubernetes_terminal *terminal) {
    const char *phase = json_get_string(terminal->status, "phase");
    return phase == NULL ? "" : phase;
}

struct instance_spec kubernetes_terminal_identity(const struct kubernetes_terminal *terminal) {
    struct kubernetes_identity identity;
    kubernetes_identity_read(terminal->metadata, &identity);
    return (struct instance_spec){
        .instance_id = identity.instance_id,
        .instance_name = terminal->item.name,
        .user_id = json_get_string(terminal->spec, "userId"),
        .policy_id = identity.policy_id,
        .context_id = name_or_default(json_get_string(terminal->spec, "contextId")),
        .key = "",
    };
}

bool kubernetes_terminal_matches(const struct kubernetes_terminal *terminal, const struct instance_spec *spec) {
    const struct instance_spec whose = kubernetes_terminal_identity(terminal);
    return whose.user_id != NULL && strcmp(whose.user_id, spec->user_id) == 0 &&
           strcmp(whose.policy_id, spec->policy_id) == 0 && strcmp(whose.context_id, spec->context_id) == 0;
}

struct json_object *kubernetes_terminal_activity(int64_t unix_ms, const char *phase) {
    struct json_object *patch = json_object_new_object();
    struct json_object *status = patch == NULL ? NULL : kubernetes_json_object(patch, "status");
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(unix_ms, text);
    if (status == NULL || !json_add_string(status, "lastActivityAt", text) ||
        (phase != NULL && !json_add_string(status, "phase", phase))) {
        json_object_put(patch);
        return NULL;
    }
    return patch;
}
