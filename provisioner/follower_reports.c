#include "provisioner/follower_reports.h"

#include <stdlib.h>

#include "common/cleanup.h"
#include "provisioner/request.h"

static const char *const kinds[] = {"routes", "shells"};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

/* {"routes": {key: null, …}, "shells": {…}}: sets. */
static struct json_object *sets_new(void) {
    cleanup_json struct json_object *sets = json_object_new_object();
    bool ok = sets != NULL;
    for (size_t i = 0; ok && i < KIND_COUNT; i++) {
        struct json_object *set = json_object_new_object();
        ok = set != NULL && json_add(sets, kinds[i], set);
    }
    return ok ? json_object_get(sets) : NULL;
}

static bool add(struct json_object **reports, const char *kind, const char *const *keys, size_t count,
                struct error *err) {
    bool ok = true;
    if (count > 0 && *reports == NULL) {
        *reports = sets_new();
        ok = *reports != NULL;
    }
    for (size_t i = 0; ok && i < count; i++) {
        ok = json_object_object_add(json_get_object(*reports, kind), keys[i], NULL) == 0;
    }
    return ok || error_set(err, ERROR_INTERNAL, "out of memory");
}

bool follower_reports_add(struct json_object **reports, struct json_object *request, struct error *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < KIND_COUNT; i++) {
        cleanup_free const char **keys = NULL;
        size_t count = 0;
        ok = request_digests(request, kinds[i], REQUEST_ROUTES_MAX, &keys, &count, err) &&
             add(reports, kinds[i], keys, count, err);
    }
    return ok;
}

static struct json_object *list_of(struct json_object *set) {
    struct json_object *list = json_object_new_array();
    size_t left = REQUEST_ROUTES_MAX; /* more have not been active within a second or two of each other */
    json_object_object_foreach(set, key, unused) {
        (void)unused;
        struct json_object *text = list == NULL || left == 0 ? NULL : json_object_new_string(key);
        if (text != NULL && json_object_array_add(list, text) != 0) {
            json_object_put(text);
        }
        left -= left > 0;
    }
    return list;
}

struct json_object *follower_reports_request(struct json_object *reports) {
    cleanup_json struct json_object *request = json_object_new_object();
    bool ok = request != NULL && json_add_string(request, "op", "activity") && json_add_int(request, "websockets", 0);
    for (size_t i = 0; ok && i < KIND_COUNT; i++) {
        struct json_object *list = list_of(json_get_object(reports, kinds[i]));
        ok = list != NULL && json_add(request, kinds[i], list);
    }
    return ok ? json_object_get(request) : NULL;
}
