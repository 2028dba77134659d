#include "provisioner/backends/docker_security.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"

#define CAPABILITIES_MAX 64
#define FIREWALL_SWITCH  "OPEN_TERMINAL_ALLOWED_DOMAINS"

/* sudo and apt work with these; docs/docker.md has a line for each, and for those of Docker's default that are left
 * out.
 */
static const char *const defaults[] = {"AUDIT_WRITE",      "CHOWN",  "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL",
                                       "NET_BIND_SERVICE", "SETGID", "SETUID",       NULL};
/* iptables needs the first; the second lets the entrypoint give the first away for good before the user comes in. */
static const char *const firewall[] = {"NET_ADMIN", "SETPCAP", NULL};

/* A set of names, without `CAP_`. Names are borrowed. */
struct capabilities {
    const char *names[CAPABILITIES_MAX];
    size_t count;
};

static const char *plain_name(const char *name) {
    return strncmp(name, "CAP_", 4) == 0 ? name + 4 : name;
}

static void drop(struct capabilities *set, const char *name) {
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->names[i], plain_name(name)) == 0) {
            set->names[i] = set->names[--set->count];
            return;
        }
    }
}

static void add(struct capabilities *set, const char *name) {
    drop(set, name);
    if (set->count < CAPABILITIES_MAX) {
        set->names[set->count++] = plain_name(name);
    }
}

static void add_all(struct capabilities *set, const char *const *names) {
    for (; *names != NULL; names++) {
        add(set, *names);
    }
}

/* A name as the kernel has them: letters and underscores. It becomes part of what we ask the engine for. */
static bool is_name(const char *name) {
    return name != NULL && name[0] != '\0' && strlen(name) < 40 &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == strlen(name);
}

/* First what is dropped, then what is added, as Kubernetes does. */
static bool change(struct capabilities *set, struct json_object *context, const char *what,
                   void (*with)(struct capabilities *, const char *), struct error *err) {
    struct json_object *list = json_get_array(json_get_object(context, "capabilities"), what);
    for (size_t i = 0; list != NULL && i < json_object_array_length(list); i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        const char *name = json_object_is_type(item, json_type_string) ? json_object_get_string(item) : NULL;
        if (!is_name(name)) {
            return error_set(err, ERROR_INVALID,
                             "container_security_context: capabilities.%s has no name of a capability", what);
        }
        if (strcmp(name, "ALL") != 0) {
            with(set, name);
        } else if (with == drop) {
            set->count = 0;
        } else {
            return error_set(err, ERROR_INVALID,
                             "container_security_context: an instance cannot have ALL capabilities");
        }
    }
    return true;
}

static bool add_texts(struct json_object *object, const char *key, const char *const *texts, size_t count) {
    struct json_object *list = json_object_new_array();
    if (list == NULL || !json_add(object, key, list)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct json_object *text = json_object_new_string(texts[i]);
        if (text == NULL || json_object_array_add(list, text) != 0) {
            json_object_put(text);
            return false;
        }
    }
    return true;
}

static bool refuse_privileges(struct json_object *context, struct error *err) {
    const char *seccomp = json_get_string(json_get_object(context, "seccompProfile"), "type");
    const char *mount = json_get_string(context, "procMount");
    if (json_get_bool(context, "privileged", false)) {
        return error_set(err, ERROR_INVALID, "container_security_context: an instance cannot be privileged");
    }
    if (seccomp != NULL && strcmp(seccomp, "RuntimeDefault") != 0) {
        return error_set(err, ERROR_INVALID,
                         "container_security_context: seccompProfile `%s`: only RuntimeDefault is possible on Docker",
                         seccomp);
    }
    if (mount != NULL && strcmp(mount, "Default") != 0) {
        return error_set(err, ERROR_INVALID, "container_security_context: procMount `%s`: only Default is possible",
                         mount);
    }
    return true;
}

/* Where programs expect to write although the rest is read-only. */
static bool add_tmpfs(struct json_object *host_config) {
    struct json_object *tmpfs = json_object_new_object();
    return tmpfs != NULL && json_add(host_config, "Tmpfs", tmpfs) &&
           json_add_string(tmpfs, "/tmp", "rw,nosuid,nodev,mode=1777") &&
           json_add_string(tmpfs, "/var/tmp", "rw,nosuid,nodev,mode=1777") &&
           json_add_string(tmpfs, "/run", "rw,nosuid,nodev,mode=755");
}

bool docker_security_apply(const struct docker_security *security, struct json_object *host_config, struct error *err) {
    static const char *const all[] = {"ALL"};
    static const char *const no_new_privileges[] = {"no-new-privileges"};
    struct json_object *context = security->context;
    struct capabilities set = {0};
    if (!refuse_privileges(context, err)) {
        return false;
    }
    if (!security->image_is_unprivileged) {
        add_all(&set, defaults);
    }
    if (json_get_string(security->env, FIREWALL_SWITCH) != NULL) {
        add_all(&set, firewall);
    }
    if (!change(&set, context, "drop", drop, err) || !change(&set, context, "add", add, err)) {
        return false;
    }
    bool escalates = json_get_bool(context, "allowPrivilegeEscalation", !security->image_is_unprivileged);
    bool read_only = json_get_bool(context, "readOnlyRootFilesystem", false);
    bool ok = add_texts(host_config, "CapDrop", all, 1) && add_texts(host_config, "CapAdd", set.names, set.count) &&
              (escalates || add_texts(host_config, "SecurityOpt", no_new_privileges, 1)) &&
              (!read_only || (json_add_bool(host_config, "ReadonlyRootfs", true) && add_tmpfs(host_config)));
    return ok || error_set(err, ERROR_INTERNAL, "out of memory");
}

bool docker_security_user(struct json_object *context, char out[DOCKER_USER_SIZE], bool *is_set, struct error *err) {
    int64_t user = json_get_int(context, "runAsUser", -1);
    int64_t group = json_get_int(context, "runAsGroup", -1);
    *is_set = user >= 0;
    if (user > UINT32_MAX - 1 || group > UINT32_MAX - 1 || (group >= 0 && user < 0)) {
        return error_set(err, ERROR_INVALID,
                         "container_security_context: runAsUser and runAsGroup are numbers of users "
                         "and groups, and a group needs a user");
    }
    if (user == 0 && json_get_bool(context, "runAsNonRoot", false)) {
        return error_set(err, ERROR_INVALID, "container_security_context: runAsNonRoot contradicts runAsUser 0");
    }
    if (group >= 0) {
        snprintf(out, DOCKER_USER_SIZE, "%" PRId64 ":%" PRId64, user, group);
    } else {
        snprintf(out, DOCKER_USER_SIZE, "%" PRId64, user);
    }
    return true;
}
