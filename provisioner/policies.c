#include "provisioner/policies.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/tenants.h"

#define MILLISECONDS_IN_MINUTE (60LL * 1000)

static void stored_free(struct stored_policy *stored) {
    policy_free(&stored->policy);
    free(stored->problem);
    free(stored);
}

static struct stored_policy *find(const struct provisioner *provisioner, const char *policy_id) {
    struct stored_policy *stored = NULL;
    HASH_FIND_STR(provisioner->policies, policy_id, stored);
    return stored;
}

static void insert(struct provisioner *provisioner, struct stored_policy *stored) {
    HASH_ADD_STR(provisioner->policies, policy.id, stored);
    provisioner->policies_bytes += stored->data_bytes;
}

static size_t data_bytes(const struct policy *policy) {
    size_t length = 0;
    return json_text(policy->data, &length) == NULL ? 0 : length;
}

struct stored_policy *policies_find(struct provisioner *provisioner, const char *policy_id, struct error *err) {
    struct stored_policy *stored = find(provisioner, policy_id);
    if (stored == NULL) {
        error_set(err, ERROR_NOT_FOUND, "Policy `%s` not found", policy_id);
    }
    return stored;
}

const struct policy *policies_usable(struct provisioner *provisioner, const char *policy_id, struct error *err) {
    const struct stored_policy *stored = policies_find(provisioner, policy_id, err);
    if (stored != NULL && stored->problem != NULL) {
        error_set(err, ERROR_CONFLICT, "the policy `%s` no longer holds: %s", policy_id, stored->problem);
        return NULL;
    }
    return stored == NULL ? NULL : &stored->policy;
}

size_t policies_count(const struct provisioner *provisioner) {
    return HASH_COUNT(provisioner->policies);
}

int64_t policies_idle_timeout_ms(const struct provisioner *provisioner, const char *policy_id) {
    const struct stored_policy *stored = find(provisioner, policy_id);
    return stored == NULL || stored->policy.idle_timeout_minutes == POLICY_UNSET
               ? provisioner->settings->idle_timeout_seconds * 1000
               : stored->policy.idle_timeout_minutes * MILLISECONDS_IN_MINUTE;
}

int64_t policies_lifetime_ms(const struct provisioner *provisioner, const char *policy_id) {
    const struct stored_policy *stored = find(provisioner, policy_id);
    return stored == NULL || stored->policy.max_lifetime_minutes == POLICY_UNSET ||
                   provisioner->operations->shares_one_instance
               ? 0
               : stored->policy.max_lifetime_minutes * MILLISECONDS_IN_MINUTE;
}

bool policies_is_outdated(const struct provisioner *provisioner, const char *policy_id, const char *hash) {
    const struct stored_policy *stored = find(provisioner, policy_id);
    return stored == NULL || strcmp(stored->policy.hash, hash) != 0;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

/* What was stored no longer passes: it is shown as it is, and says nothing to a backend. */
static bool keep_unusable(struct stored_policy *stored, const char *id, struct json_object *data,
                          const struct error *why) {
    log_error(NULL, "policy `%s` no longer holds, and starts no instance: %s", id, why->message);
    stored->policy = (struct policy){
        .cpu_millicores = POLICY_UNSET,
        .memory_bytes = POLICY_UNSET,
        .storage_bytes = POLICY_UNSET,
        .idle_timeout_minutes = POLICY_UNSET,
        .max_lifetime_minutes = POLICY_UNSET,
    };
    snprintf(stored->policy.id, sizeof stored->policy.id, "%s", id);
    stored->policy.data = json_object_get(data);
    stored->problem = strdup(why->message);
    return stored->problem != NULL;
}

static bool load_one(void *argument, const struct policy_record *row, struct error *err) {
    struct provisioner *provisioner = argument;
    struct stored_policy *stored = calloc(1, sizeof *stored);
    struct error why = {0};
    if (row->id == NULL || row->data == NULL || !name_check_policy_id(row->id, &why)) {
        free(stored);
        return error_set(err, ERROR_INTERNAL, "a row of policies makes no sense");
    }
    cleanup_json struct json_object *data = json_parse_object(row->data, strlen(row->data), &why);
    if (data == NULL) {
        free(stored);
        return error_set(err, ERROR_INTERNAL, "the row of policy `%s`: %s", row->id, why.message);
    }
    if (stored == NULL || (!policy_parse(&stored->policy, row->id, data, provisioner->settings, &why) &&
                           !keep_unusable(stored, row->id, data, &why))) {
        free(stored);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    stored->created_at_ms = row->created_at_ms;
    stored->updated_at_ms = row->updated_at_ms;
    stored->data_bytes = data_bytes(&stored->policy);
    insert(provisioner, stored);
    return true;
}

bool policies_load(struct provisioner *provisioner, struct error *err) {
    if (!store_each_policy(provisioner->store, load_one, provisioner, err)) {
        return false;
    }
    int64_t now_ms = clock_unix_ms();
    const struct policy_record by_default = {NAME_DEFAULT, "{}", now_ms, now_ms};
    return find(provisioner, NAME_DEFAULT) != NULL || load_one(provisioner, &by_default, err);
}

void policies_free(struct provisioner *provisioner) {
    struct stored_policy *stored = NULL;
    struct stored_policy *next = NULL;
    HASH_ITER(hh, provisioner->policies, stored, next) {
        HASH_DEL(provisioner->policies, stored);
        stored_free(stored);
    }
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

static bool check_room(const struct provisioner *provisioner, size_t before, size_t after, struct error *err) {
    return provisioner->policies_bytes - before + after <= POLICIES_DATA_MAX_BYTES ||
           error_set(err, ERROR_CONFLICT, "all policies together would have more than %d bytes of data",
                     POLICIES_DATA_MAX_BYTES);
}

static bool check_new(const struct provisioner *provisioner, const char *policy_id, struct error *err) {
    if (find(provisioner, policy_id) != NULL) {
        return error_set(err, ERROR_CONFLICT, "Policy `%s` exists already", policy_id);
    }
    return policies_count(provisioner) < POLICIES_MAX ||
           error_set(err, ERROR_CONFLICT, "there are %d policies already, and more there cannot be", POLICIES_MAX);
}

static bool save(struct provisioner *provisioner, const struct policy *policy, int64_t created_at_ms,
                 int64_t updated_at_ms, struct error *err) {
    const struct policy_record record = {policy->id, json_text(policy->data, &(size_t){0}), created_at_ms,
                                         updated_at_ms};
    return record.data == NULL ? error_set(err, ERROR_INTERNAL, "out of memory")
                               : store_save_policy(provisioner->store, &record, err);
}

struct stored_policy *policies_create(struct provisioner *provisioner, const char *policy_id, struct json_object *data,
                                      struct error *err) {
    if (!check_new(provisioner, policy_id, err)) {
        return NULL;
    }
    struct stored_policy *stored = calloc(1, sizeof *stored);
    if (stored == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    stored->created_at_ms = stored->updated_at_ms = clock_unix_ms();
    bool ok = policy_parse(&stored->policy, policy_id, data, provisioner->settings, err);
    stored->data_bytes = ok ? data_bytes(&stored->policy) : 0;
    if (!ok || !check_room(provisioner, 0, stored->data_bytes, err) ||
        !save(provisioner, &stored->policy, stored->created_at_ms, stored->updated_at_ms, err)) {
        stored_free(stored);
        return NULL;
    }
    insert(provisioner, stored);
    provisioner_note_change(provisioner);
    return stored;
}

struct stored_policy *policies_update(struct provisioner *provisioner, const char *policy_id, struct json_object *data,
                                      struct error *err) {
    struct policy policy;
    struct stored_policy *stored = policies_find(provisioner, policy_id, err);
    if (stored == NULL || !policy_parse(&policy, policy_id, data, provisioner->settings, err)) {
        return NULL;
    }
    /* The same in another order is no change: nothing that runs becomes outdated by it. */
    if (stored->problem == NULL && json_object_equal(stored->policy.data, policy.data) == 1) {
        policy_free(&policy);
        return stored;
    }
    int64_t now_ms = clock_unix_ms();
    size_t bytes = data_bytes(&policy);
    if (!check_room(provisioner, stored->data_bytes, bytes, err) ||
        !save(provisioner, &policy, stored->created_at_ms, now_ms, err)) {
        policy_free(&policy);
        return NULL;
    }
    provisioner->policies_bytes += bytes - stored->data_bytes;
    policy_free(&stored->policy);
    free(stored->problem);
    stored->policy = policy;
    stored->problem = NULL;
    stored->data_bytes = bytes;
    stored->updated_at_ms = now_ms;
    provisioner_note_change(provisioner);
    return stored;
}

bool policies_delete(struct provisioner *provisioner, const char *policy_id, struct error *err) {
    struct stored_policy *stored = policies_find(provisioner, policy_id, err);
    size_t running = 0;
    if (stored == NULL) {
        return false;
    }
    if (strcmp(policy_id, NAME_DEFAULT) == 0) {
        return error_set(err, ERROR_CONFLICT,
                         "the policy `" NAME_DEFAULT "` always exists: give it empty data instead");
    }
    TENANTS_EACH_LIVE(provisioner, tenant) {
        running += !tenant->is_warm && strcmp(tenant->record.policy_id, policy_id) == 0;
    }
    if (running > 0) {
        return error_set(err, ERROR_CONFLICT, "%zu instance%s of the policy `%s` run%s: refresh it first", running,
                         running == 1 ? "" : "s", policy_id, running == 1 ? "s" : "");
    }
    if (!store_delete_policy(provisioner->store, policy_id, err)) {
        return false;
    }
    provisioner->policies_bytes -= stored->data_bytes;
    HASH_DEL(provisioner->policies, stored);
    stored_free(stored);
    provisioner_note_change(provisioner);
    return true;
}

static bool add_time(struct json_object *object, const char *name, int64_t unix_ms) {
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(unix_ms, text);
    return json_add_string(object, name, text);
}

struct json_object *policy_to_json(const struct stored_policy *stored) {
    struct json_object *object = json_object_new_object();
    if (object == NULL ||
        !(json_add_string(object, "id", stored->policy.id) &&
          json_add(object, "data", json_object_get(stored->policy.data)) &&
          json_add_string(object, "error", stored->problem) && add_time(object, "created_at", stored->created_at_ms) &&
          add_time(object, "updated_at", stored->updated_at_ms))) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

struct json_object *policies_try(struct provisioner *provisioner, const char *policy_id, struct json_object *data,
                                 bool is_new, struct error *err) {
    struct stored_policy tried = {0};
    const struct stored_policy *stored = is_new ? NULL : policies_find(provisioner, policy_id, err);
    if (is_new ? !check_new(provisioner, policy_id, err) : stored == NULL) {
        return NULL;
    }
    if (!policy_parse(&tried.policy, policy_id, data, provisioner->settings, err)) {
        return NULL;
    }
    struct json_object *object = NULL;
    tried.updated_at_ms = clock_unix_ms();
    tried.created_at_ms = stored == NULL ? tried.updated_at_ms : stored->created_at_ms;
    if (check_room(provisioner, stored == NULL ? 0 : stored->data_bytes, data_bytes(&tried.policy), err)) {
        object = policy_to_json(&tried);
        if (object == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    policy_free(&tried.policy);
    return object;
}
