/* doctor_maps.c - three that must agree: the maps in HAProxy's memory, their files, and who runs by the provisioner's
 * word. Each changes while it is looked at, so that they are looked at again before a difference counts. Values hold
 * instances' keys and are never shown. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor_checks.h"
#include "cli/haproxy_ask.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/ipc_client.h"
#include "common/names.h"

#define LOOKS           8
#define PAUSE_MS        250
#define PAGE            1000
#define IPC_TIMEOUT_MS  20000
#define FILE_MAX_BYTES  (1024UL * 1024 * 1024)
#define KEY_SHOWN_CHARS 12

/* Lines "key value", or keys alone, sorted. */
struct entries {
    struct buffer text; /* what the pointers point into; secrets */
    char **items;
    size_t count;
    size_t room;
};

static void entries_free(struct entries *entries) {
    if (entries->text.data != NULL) {
        explicit_bzero(entries->text.data, entries->text.capacity);
    }
    buffer_free(&entries->text);
    free(entries->items);
    *entries = (struct entries){0};
}
#define cleanup_entries __attribute__((cleanup(entries_free)))

static bool add(struct entries *entries, char *item, struct error *err) {
    if (entries->count == entries->room) {
        size_t room = entries->room == 0 ? 1024 : entries->room * 2;
        char **items = reallocarray(entries->items, room, sizeof *items);
        if (items == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        entries->items = items;
        entries->room = room;
    }
    entries->items[entries->count++] = item;
    return true;
}

static int compare(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static void sort(struct entries *entries) {
    if (entries->count > 1) {
        qsort(entries->items, entries->count, sizeof *entries->items, compare);
    }
}

/* Cuts the text into lines; of each, skips `words` words in front. */
static bool split(struct entries *entries, int words, struct error *err) {
    char *rest = entries->text.data;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        for (int i = 0; i < words && line != NULL; i++) {
            line = strchr(line, ' ');
            line = line == NULL ? NULL : line + 1;
        }
        if (line != NULL && !add(entries, line, err)) {
            return false;
        }
    }
    sort(entries);
    return true;
}

static bool read_map_file(const char *run_dir, const char *name, struct entries *entries, struct error *err) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.map", run_dir, name);
    cleanup_fclose FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
    }
    for (;;) {
        char *room = buffer_reserve(&entries->text, 65536);
        if (room == NULL || entries->text.length > FILE_MAX_BYTES) {
            return error_set(err, ERROR_INTERNAL, "out of memory for `%s`", path);
        }
        size_t length = fread(room, 1, 65536, file);
        room[length] = '\0';
        entries->text.length += length;
        if (length == 0) {
            return !ferror(file) ? split(entries, 0, err) : error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
        }
    }
}

/* By its number, since HAProxy calls a map by the very path in its configuration. */
static bool read_haproxy_map(const char *run_dir, const char *name, struct entries *entries, struct error *err) {
    cleanup_buffer struct buffer list = {0};
    char wanted[64];
    char command[64];
    snprintf(wanted, sizeof wanted, "/%s.map)", name);
    if (!haproxy_ask(run_dir, "show map", &list, err)) {
        return false;
    }
    const char *found = list.data == NULL ? NULL : strstr(list.data, wanted);
    while (found != NULL && found > list.data && found[-1] != '\n') {
        found--;
    }
    if (found == NULL) {
        return error_set(err, ERROR_BACKEND, "HAProxy has no map `%s.map`: is it ours?", name);
    }
    snprintf(command, sizeof command, "show map #%ld", strtol(found, NULL, 10));
    return haproxy_ask(run_dir, command, &entries->text, err) && split(entries, 1, err);
}

static bool is_equal(const struct entries *one, const struct entries *other) {
    bool equal = one->count == other->count;
    for (size_t i = 0; equal && i < one->count; i++) {
        equal = strcmp(one->items[i], other->items[i]) == 0;
    }
    return equal;
}

/* 1: they agree, 0: they do not, -1 with *err. */
static int compare_with_file(struct doctor *doctor, const char *name, size_t counts[2], struct error *err) {
    cleanup_entries struct entries file = {0};
    cleanup_entries struct entries map = {0};
    const char *run_dir = doctor->settings->run_dir;
    if (!read_map_file(run_dir, name, &file, err) || !read_haproxy_map(run_dir, name, &map, err)) {
        return -1;
    }
    counts[0] = file.count;
    counts[1] = map.count;
    return is_equal(&file, &map) ? 1 : 0;
}

static void check_map(struct doctor *doctor, const char *name) {
    struct error err = {0};
    size_t counts[2] = {0};
    int agrees = compare_with_file(doctor, name, counts, &err);
    for (int i = 1; agrees == 0 && i < LOOKS; i++) {
        poll(NULL, 0, PAUSE_MS);
        agrees = compare_with_file(doctor, name, counts, &err);
    }
    if (agrees < 0) {
        findings_add(&doctor->findings, "maps", FINDING_FAIL, "see `haproxy` in this list", "%s", err.message);
    } else if (agrees == 0) {
        findings_add(&doctor->findings, "maps", FINDING_FAIL,
                     "reload HAProxy (SIGHUP to `terminals serve`), which makes the provisioner push them anew",
                     "HAProxy's `%s` and its file differ (%zu and %zu entries)", name, counts[1], counts[0]);
    } else {
        findings_add(&doctor->findings, "maps", FINDING_OK, NULL, "`%s`: %zu entries in HAProxy as in the file", name,
                     counts[0]);
    }
}

/* --- who runs ----------------------------------------------------------------------------------------------------- */

/* The route of a tenant that runs, in 64 digits. */
static bool add_tenant(struct entries *entries, struct json_object *tenant, struct error *err) {
    char key[DIGEST_HEX_SIZE];
    const char *user = json_get_string(tenant, "user_id");
    const char *policy = json_get_string(tenant, "policy_id");
    const char *context = json_get_string(tenant, "context_id");
    if (user == NULL || policy == NULL || context == NULL || !name_route_key(user, policy, context, key)) {
        return error_set(err, ERROR_BACKEND, "the provisioner says nonsense");
    }
    return buffer_append(&entries->text, key, sizeof key - 1) && buffer_append_string(&entries->text, "\n")
               ? true
               : error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool read_page(struct ipc_client *client, size_t offset, struct entries *entries, size_t *count,
                      struct error *err) {
    struct json_object *request = ipc_request("tenant_list");
    if (request == NULL || !json_add_string(request, "status", "running") || !json_add_int(request, "limit", PAGE) ||
        !json_add_int(request, "offset", (int64_t)offset)) {
        json_object_put(request);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_json struct json_object *answer = ipc_client_call(client, request, IPC_TIMEOUT_MS, err);
    struct json_object *tenants = answer == NULL ? NULL : json_get_array(answer, "tenants");
    if (answer == NULL || !ipc_answer_ok(answer, err)) {
        return false;
    }
    *count = tenants == NULL ? 0 : json_object_array_length(tenants);
    for (size_t i = 0; i < *count; i++) {
        if (!add_tenant(entries, json_object_array_get_idx(tenants, i), err)) {
            return false;
        }
    }
    return true;
}

static bool read_tenants(const char *run_dir, struct entries *entries, struct error *err) {
    char path[512];
    size_t count = PAGE;
    snprintf(path, sizeof path, "%s/provisioner.sock", run_dir);
    struct ipc_client *client = ipc_client_new(path);
    bool ok = client != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
    for (size_t offset = 0; ok && count == PAGE; offset += PAGE) {
        ok = read_page(client, offset, entries, &count, err);
    }
    ipc_client_free(client);
    return ok && split(entries, 0, err);
}

/* Compares the sorted keys; the first that only one side has is put into `key`. 1: equal, 0: not, -1 with *err. */
static int compare_with_tenants(struct doctor *doctor, size_t *count, char key[KEY_SHOWN_CHARS + 1], bool *is_missing,
                                struct error *err) {
    cleanup_entries struct entries tenants = {0};
    cleanup_entries struct entries routes = {0};
    if (!read_tenants(doctor->settings->run_dir, &tenants, err) ||
        !read_haproxy_map(doctor->settings->run_dir, "routes", &routes, err)) {
        return -1;
    }
    *count = tenants.count;
    for (size_t i = 0; i < tenants.count || i < routes.count; i++) {
        const char *tenant = i < tenants.count ? tenants.items[i] : "~";
        const char *route = i < routes.count ? routes.items[i] : "~";
        int order = strncmp(tenant, route, DIGEST_HEX_LENGTH);
        if (order != 0) {
            *is_missing = order < 0;
            snprintf(key, KEY_SHOWN_CHARS + 1, "%s", order < 0 ? tenant : route);
            return 0;
        }
    }
    return 1;
}

static void check_tenants(struct doctor *doctor) {
    struct error err = {0};
    size_t count = 0;
    char key[KEY_SHOWN_CHARS + 1] = "";
    bool is_missing = false;
    int agrees = compare_with_tenants(doctor, &count, key, &is_missing, &err);
    for (int i = 1; agrees == 0 && i < LOOKS; i++) {
        poll(NULL, 0, PAUSE_MS);
        agrees = compare_with_tenants(doctor, &count, key, &is_missing, &err);
    }
    if (agrees < 0) {
        findings_add(&doctor->findings, "routes", FINDING_FAIL, "see `provisioner` in this list", "%s", err.message);
    } else if (agrees > 0) {
        findings_add(&doctor->findings, "routes", FINDING_OK, NULL,
                     "%zu instances run, and HAProxy has all their routes", count);
    } else if (is_missing) {
        findings_add(&doctor->findings, "routes", FINDING_WARN,
                     "if it stays so, reload HAProxy (SIGHUP to `terminals serve`)",
                     "an instance that runs has no route in HAProxy (%s…): its requests take the slower way", key);
    } else {
        findings_add(&doctor->findings, "routes", FINDING_FAIL, "reload HAProxy (SIGHUP to `terminals serve`)",
                     "HAProxy has a route of an instance that does not run (%s…)", key);
    }
}

void doctor_check_maps(struct doctor *doctor) {
    if (!doctor->has_haproxy) {
        return;
    }
    check_map(doctor, "identities");
    check_map(doctor, "routes");
    if (doctor->has_provisioner) {
        check_tenants(doctor);
    }
}
