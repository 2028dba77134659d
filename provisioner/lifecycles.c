#include "provisioner/lifecycles.h"

#include <stdlib.h>
#include <string.h>

#include "common/civil.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "common/text.h"
#include "provisioner/policies.h"
#include "provisioner/schedule.h"

#define MILLISECONDS 1000

struct lifecycle {
    char policy_id[NAME_POLICY_MAX_BYTES + 1];
    char *text; /* of the schedule, as it was given */
    char *zone_name;
    struct schedule schedule;
    struct time_zone *zone; /* NULL: see `problem` */
    char *problem;          /* why it does nothing; else NULL */
    int64_t since_ms;
    int64_t next_s; /* the first time after those that are in due_s */
    int64_t due_s;  /* the newest time that has come since; SCHEDULE_NEVER: none */
    UT_hash_handle hh;
};

static void lifecycle_free(struct lifecycle *lifecycle) {
    if (lifecycle != NULL) {
        time_zone_free(lifecycle->zone);
        free(lifecycle->text);
        free(lifecycle->zone_name);
        free(lifecycle->problem);
        free(lifecycle);
    }
}

static void lifecycle_cleanup_function(struct lifecycle **lifecycle) {
    lifecycle_free(*lifecycle);
}
#define cleanup_lifecycle __attribute__((cleanup(lifecycle_cleanup_function)))

static struct lifecycle *find(const struct provisioner *provisioner, const char *policy_id) {
    struct lifecycle *lifecycle = NULL;
    HASH_FIND_STR(provisioner->lifecycles, policy_id, lifecycle);
    return lifecycle;
}

static int64_t seconds(int64_t unix_ms) {
    return civil_floor_divide(unix_ms, MILLISECONDS);
}

/* Parses the texts; the rest is in place. False with *err, ERROR_INVALID for what the texts say. */
static bool understand(struct lifecycle *lifecycle, struct error *err) {
    if (!schedule_parse(lifecycle->text, &lifecycle->schedule, err)) {
        return error_prefix(err, "`reset.schedule`");
    }
    lifecycle->zone = time_zone_open(lifecycle->zone_name, err);
    if (lifecycle->zone == NULL) {
        return error_prefix(err, "`reset.timezone`");
    }
    lifecycle->due_s = SCHEDULE_NEVER;
    lifecycle->next_s = schedule_next(&lifecycle->schedule, lifecycle->zone, seconds(lifecycle->since_ms));
    return true;
}

static struct lifecycle *lifecycle_new(const struct lifecycle_record *record, struct error *err) {
    struct lifecycle *lifecycle = calloc(1, sizeof *lifecycle);
    if (lifecycle != NULL) {
        snprintf(lifecycle->policy_id, sizeof lifecycle->policy_id, "%s", record->policy_id);
        lifecycle->since_ms = record->since_ms;
        lifecycle->text = strdup(record->schedule);
        lifecycle->zone_name = strdup(record->time_zone);
    }
    if (lifecycle == NULL || lifecycle->text == NULL || lifecycle->zone_name == NULL) {
        lifecycle_free(lifecycle);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return lifecycle;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static bool load_one(void *argument, const struct lifecycle_record *record, struct error *err) {
    struct provisioner *provisioner = argument;
    struct error why;
    if (record->policy_id == NULL || record->schedule == NULL || record->time_zone == NULL) {
        return error_set(err, ERROR_INTERNAL, "a row of lifecycles makes no sense");
    }
    cleanup_lifecycle struct lifecycle *lifecycle = lifecycle_new(record, err);
    if (lifecycle == NULL) {
        return false;
    }
    if (!understand(lifecycle, &why)) {
        log_error(NULL, "the lifecycle of policy `%s` no longer holds, and does nothing: %s", record->policy_id,
                  why.message);
        lifecycle->problem = strdup(why.message);
        if (lifecycle->problem == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    HASH_ADD_STR(provisioner->lifecycles, policy_id, lifecycle);
    steal_pointer(&lifecycle);
    return true;
}

bool lifecycles_load(struct provisioner *provisioner, struct error *err) {
    return store_each_lifecycle(provisioner->store, load_one, provisioner, err);
}

void lifecycles_free(struct provisioner *provisioner) {
    struct lifecycle *lifecycle = NULL;
    struct lifecycle *next = NULL;
    HASH_ITER(hh, provisioner->lifecycles, lifecycle, next) {
        HASH_DEL(provisioner->lifecycles, lifecycle);
        lifecycle_free(lifecycle);
    }
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

static bool is_among(const char *name, const char *const *names) {
    for (; *names != NULL; names++) {
        if (strcmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

/* A misspelt member must not pass for one that is not there. `prefix` is what stands before its name. */
static bool check_members(struct json_object *object, const char *prefix, const char *const *names, struct error *err) {
    json_object_object_foreach(object, name, value) {
        (void)value;
        if (!is_among(name, names)) {
            return error_set(err, ERROR_INVALID, "`%s%.64s` is no member of a lifecycle", prefix,
                             text_is_utf8(name) ? name : "?");
        }
    }
    return true;
}

/* A text without a NUL; `fallback` where it is absent or null (NULL: it must be there). */
static bool read_text(struct json_object *object, const char *name, const char *fallback, const char **text,
                      struct error *err) {
    struct json_object *value = NULL;
    json_object_object_get_ex(object, name, &value);
    *text = value == NULL ? fallback : json_get_string(object, name);
    return *text != NULL || error_set(err, ERROR_INVALID, "`reset.%s` must be a text", name);
}

/* What `data` says; without a reset, *record has no schedule. */
static bool read_data(struct json_object *data, struct lifecycle_record *record, struct error *err) {
    /* The last two are what the API adds: who reads a lifecycle and writes it back means no harm. */
    static const char *const members[] = {"reset", "next_resets", "error", NULL};
    static const char *const reset_members[] = {"schedule", "timezone", NULL};
    struct json_object *reset = NULL;
    if (!check_members(data, "", members, err)) {
        return false;
    }
    json_object_object_get_ex(data, "reset", &reset);
    if (reset == NULL) {
        return true;
    }
    if (!json_object_is_type(reset, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`reset` must be an object of `schedule` and `timezone`, or null");
    }
    return check_members(reset, "reset.", reset_members, err) &&
           read_text(reset, "schedule", NULL, &record->schedule, err) &&
           read_text(reset, "timezone", TIME_ZONE_UTC, &record->time_zone, err);
}

static bool is_same(const struct lifecycle *lifecycle, const struct lifecycle_record *record) {
    return lifecycle->problem == NULL && strcmp(lifecycle->text, record->schedule) == 0 &&
           strcmp(lifecycle->zone_name, record->time_zone) == 0;
}

void lifecycles_forget(struct provisioner *provisioner, const char *policy_id) {
    struct lifecycle *lifecycle = find(provisioner, policy_id);
    if (lifecycle != NULL) {
        HASH_DEL(provisioner->lifecycles, lifecycle);
        lifecycle_free(lifecycle);
        provisioner_note_change(provisioner);
    }
}

static bool remove_lifecycle(struct provisioner *provisioner, const char *policy_id, struct error *err) {
    if (find(provisioner, policy_id) != NULL && !store_delete_lifecycle(provisioner->store, policy_id, err)) {
        return false;
    }
    lifecycles_forget(provisioner, policy_id);
    return true;
}

static bool replace_lifecycle(struct provisioner *provisioner, const struct lifecycle_record *record,
                              struct error *err) {
    cleanup_lifecycle struct lifecycle *lifecycle = lifecycle_new(record, err);
    if (lifecycle == NULL || !understand(lifecycle, err)) {
        return false;
    }
    if (lifecycle->next_s == SCHEDULE_NEVER) {
        return error_set(err, ERROR_INVALID, "`reset.schedule`: `%.64s` %s", record->schedule,
                         lifecycle->schedule.is_once ? "is past" : "never comes");
    }
    if (!store_save_lifecycle(provisioner->store, record, err)) {
        return false;
    }
    lifecycles_forget(provisioner, record->policy_id);
    HASH_ADD_STR(provisioner->lifecycles, policy_id, lifecycle);
    steal_pointer(&lifecycle);
    provisioner_note_change(provisioner);
    return true;
}

bool lifecycles_set(struct provisioner *provisioner, const char *policy_id, struct json_object *data, int64_t now_ms,
                    struct error *err) {
    struct lifecycle_record record = {.policy_id = policy_id, .since_ms = now_ms};
    if (policies_find(provisioner, policy_id, err) == NULL || !read_data(data, &record, err)) {
        return false;
    }
    if (record.schedule == NULL) {
        return remove_lifecycle(provisioner, policy_id, err);
    }
    const struct lifecycle *before = find(provisioner, policy_id);
    return (before != NULL && is_same(before, &record)) || replace_lifecycle(provisioner, &record, err);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

int64_t lifecycles_due_ms(struct provisioner *provisioner, const char *policy_id, int64_t now_ms) {
    struct lifecycle *lifecycle = find(provisioner, policy_id);
    if (lifecycle == NULL || lifecycle->zone == NULL) {
        return 0;
    }
    if (lifecycle->next_s <= seconds(now_ms)) {
        lifecycle->due_s =
            schedule_last(&lifecycle->schedule, lifecycle->zone, seconds(lifecycle->since_ms), seconds(now_ms));
        lifecycle->next_s = schedule_next(&lifecycle->schedule, lifecycle->zone, seconds(now_ms));
    }
    return lifecycle->due_s == SCHEDULE_NEVER ? 0 : lifecycle->due_s * MILLISECONDS;
}

static struct json_object *reset_to_json(const struct lifecycle *lifecycle) {
    struct json_object *reset = json_object_new_object();
    if (reset == NULL || !json_add_string(reset, "schedule", lifecycle->text) ||
        !json_add_string(reset, "timezone", lifecycle->zone_name)) {
        json_object_put(reset);
        return NULL;
    }
    return reset;
}

/* The next times, as an array of texts. NULL: no memory. */
static struct json_object *next_resets(const struct lifecycle *lifecycle, int64_t now_ms) {
    struct json_object *times = json_object_new_array();
    int64_t at_s = seconds(now_ms);
    for (int i = 0; times != NULL && lifecycle != NULL && lifecycle->zone != NULL && i < LIFECYCLE_NEXT_RESETS; i++) {
        char text[CLOCK_RFC3339_SIZE];
        at_s = schedule_next(&lifecycle->schedule, lifecycle->zone, at_s);
        if (at_s == SCHEDULE_NEVER) {
            break;
        }
        clock_format_rfc3339(at_s * MILLISECONDS, text);
        struct json_object *value = json_object_new_string(text);
        if (value == NULL || json_object_array_add(times, value) < 0) {
            json_object_put(value);
            json_object_put(times);
            return NULL;
        }
    }
    return times;
}

struct json_object *lifecycle_to_json(struct provisioner *provisioner, const char *policy_id, int64_t now_ms) {
    const struct lifecycle *lifecycle = find(provisioner, policy_id);
    cleanup_json struct json_object *object = json_object_new_object();
    struct json_object *reset = lifecycle == NULL ? NULL : reset_to_json(lifecycle);
    struct json_object *times = next_resets(lifecycle, now_ms);
    bool ok = object != NULL && times != NULL && (reset != NULL || lifecycle == NULL) &&
              json_add(object, "reset", json_object_get(reset)) &&
              json_add(object, "next_resets", json_object_get(times)) &&
              json_add_string(object, "error", lifecycle == NULL ? NULL : lifecycle->problem);
    json_object_put(reset);
    json_object_put(times);
    return ok ? json_object_get(object) : NULL;
}
