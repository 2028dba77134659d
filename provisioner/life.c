#include "provisioner/life.h"

#include "common/clock.h"
#include "provisioner/activity.h"
#include "provisioner/lifetime.h"
#include "provisioner/policies.h"

#define MILLISECONDS_IN_MINUTE 60000

/* null for 0. */
static bool add_time(struct json_object *object, const char *name, int64_t unix_ms) {
    char text[CLOCK_RFC3339_SIZE];
    if (unix_ms == 0) {
        return json_add_string(object, name, NULL);
    }
    clock_format_rfc3339(unix_ms, text);
    return json_add_string(object, name, text);
}

/* Minutes, whole ones as a whole number; null for never. */
static bool add_minutes(struct json_object *object, const char *name, int64_t milliseconds) {
    if (milliseconds == 0) {
        return json_add_string(object, name, NULL);
    }
    if (milliseconds % MILLISECONDS_IN_MINUTE == 0) {
        return json_add_int(object, name, milliseconds / MILLISECONDS_IN_MINUTE);
    }
    struct json_object *value = json_object_new_double((double)milliseconds / MILLISECONDS_IN_MINUTE);
    return value != NULL && json_add(object, name, value);
}

static int64_t earlier(int64_t one, int64_t other) {
    return one == 0 || (other != 0 && other < one) ? other : one;
}

bool life_add(struct json_object *object, const struct tenant *tenant) {
    static const char *const reasons[] = {
        [ACTIVITY_NONE] = NULL,
        [ACTIVITY_POLICY] = "policy",
        [ACTIVITY_SHELL] = "shell",
        [ACTIVITY_REQUESTS] = "requests",
    };
    const struct provisioner *provisioner = tenant->provisioner;
    bool is_running = tenant->record.status == INSTANCE_RUNNING;
    int64_t timeout_ms = provisioner->operations->shares_one_instance
                             ? 0
                             : policies_idle_timeout_ms(provisioner, tenant->record.policy_id);
    int64_t idle_ms = clock_monotonic_ms() - tenant->last_active_ms;
    idle_ms = idle_ms > 0 ? idle_ms : 0;
    enum activity_reason reason = is_running ? activity_reason(tenant) : ACTIVITY_NONE;
    int64_t idle_stop_ms = is_running && reason == ACTIVITY_NONE ? clock_unix_ms() - idle_ms + timeout_ms : 0;
    int64_t end_ms = is_running ? lifetime_end_ms(tenant) : 0;
    return add_time(object, "started_at", tenant->record.started_at_ms) &&
           add_time(object, "last_active_at", tenant->record.last_accessed_at_ms) &&
           json_add_int(object, "idle_seconds", idle_ms / 1000) &&
           add_minutes(object, "idle_timeout_minutes", timeout_ms) &&
           json_add_string(object, "kept_alive_by", reasons[reason]) &&
           add_time(object, "stops_at", earlier(idle_stop_ms, end_ms));
}
