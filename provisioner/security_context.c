#include "provisioner/security_context.h"

#include <string.h>

#define ID_MAX    4294967294LL /* (uid_t)-1 is no user */
#define NAMES_MAX 64
#define CONTAINER SECURITY_CONTEXT_CONTAINER
#define POD       SECURITY_CONTEXT_POD
#define ANY       (CONTAINER | POD)
#define CAPITALS  "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"

enum kind { SWITCH, ID, IDS, TEXT, OBJECT, CAPABILITIES };

static const struct {
    const char *name;
    enum kind kind;
    unsigned where;
} known_members[] = {
    {"allowPrivilegeEscalation", SWITCH, CONTAINER},
    {"privileged", SWITCH, CONTAINER},
    {"readOnlyRootFilesystem", SWITCH, CONTAINER},
    {"procMount", TEXT, CONTAINER},
    {"capabilities", CAPABILITIES, CONTAINER},
    {"runAsNonRoot", SWITCH, ANY},
    {"runAsUser", ID, ANY},
    {"runAsGroup", ID, ANY},
    {"seccompProfile", OBJECT, ANY},
    {"appArmorProfile", OBJECT, ANY},
    {"seLinuxOptions", OBJECT, ANY},
    {"windowsOptions", OBJECT, ANY},
    {"fsGroup", ID, POD},
    {"fsGroupChangePolicy", TEXT, POD},
    {"supplementalGroups", IDS, POD},
};

static bool is_id(struct json_object *value) {
    return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0 &&
           json_object_get_int64(value) <= ID_MAX;
}

static bool is_capability(struct json_object *value) {
    const char *name = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
    size_t length = (size_t)json_object_get_string_len(value);
    return length > 0 && length <= NAMES_MAX && strspn(name, CAPITALS) == length;
}

static bool is_list_of(struct json_object *value, bool (*is_one)(struct json_object *value)) {
    bool good = json_object_is_type(value, json_type_array) && json_object_array_length(value) <= NAMES_MAX;
    for (size_t i = 0; good && i < json_object_array_length(value); i++) {
        good = is_one(json_object_array_get_idx(value, i));
    }
    return good;
}

/* {"add": ["NET_ADMIN"], "drop": ["ALL"]} */
static bool check_capabilities(const char *name, struct json_object *value, struct error *err) {
    static const char *const lists[] = {"add", "drop"};
    if (!json_object_is_type(value, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`%s.capabilities` must be an object", name);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct json_object *list = NULL;
        if (json_object_object_get_ex(value, lists[i], &list) && list != NULL && !is_list_of(list, is_capability)) {
            return error_set(err, ERROR_INVALID,
                             "`%s.capabilities.%s` must be a list of names such as NET_ADMIN, %d at most", name,
                             lists[i], NAMES_MAX);
        }
    }
    return true;
}

static bool check_member(const char *name, const char *member, enum kind kind, struct json_object *value,
                         struct error *err) {
    switch (kind) {
    case SWITCH:
        return json_object_is_type(value, json_type_boolean) ||
               error_set(err, ERROR_INVALID, "`%s.%s` must be true or false", name, member);
    case ID:
        return is_id(value) ||
               error_set(err, ERROR_INVALID, "`%s.%s` must be a whole number from 0 to %lld", name, member, ID_MAX);
    case IDS:
        return is_list_of(value, is_id) ||
               error_set(err, ERROR_INVALID, "`%s.%s` must be a list of whole numbers, %d at most", name, member,
                         NAMES_MAX);
    case TEXT:
        return json_object_is_type(value, json_type_string) ||
               error_set(err, ERROR_INVALID, "`%s.%s` must be a text", name, member);
    case OBJECT:
        return json_object_is_type(value, json_type_object) ||
               error_set(err, ERROR_INVALID, "`%s.%s` must be an object", name, member);
    case CAPABILITIES:
        return check_capabilities(name, value, err);
    }
    return false;
}

bool security_context_check(const char *name, struct json_object *value, enum security_context_kind kind,
                            struct error *err) {
    if (!json_object_is_type(value, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`%s` must be an object", name);
    }
    for (size_t i = 0; i < sizeof known_members / sizeof known_members[0]; i++) {
        struct json_object *found = NULL;
        if ((known_members[i].where & kind) != 0 && json_object_object_get_ex(value, known_members[i].name, &found) &&
            found != NULL && !check_member(name, known_members[i].name, known_members[i].kind, found, err)) {
            return false;
        }
    }
    return true;
}
