#include "common/docker_settings.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_volume_name(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    return name[0] != '\0' && strchr(letters, name[0]) != NULL &&
           strspn(name + strspn(name, letters), "_.-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") ==
               strlen(name + strspn(name, letters));
}

/* One of TERMINALS_DOCKER_MOUNTS, for people counted from 1. NULL with *err. */
static struct json_object *take_mount(struct json_object *mount, size_t number, struct error *err) {
    static const char setting[] = "TERMINALS_DOCKER_MOUNTS";
    if (!json_object_is_type(mount, json_type_object)) {
        error_set(err, ERROR_INVALID, "%s: mount %zu is not an object", setting, number);
        return NULL;
    }
    json_object_object_foreach(mount, key, value) {
        bool known = strcmp(key, "source") == 0 || strcmp(key, "target") == 0 ||
                     (strcmp(key, "readOnly") == 0 && json_object_is_type(value, json_type_boolean));
        if (!known) {
            error_set(err, ERROR_INVALID,
                      "%s: mount %zu has `%s`, where only source, target and readOnly (true or false) may be", setting,
                      number, key);
            return NULL;
        }
    }
    const char *source = json_get_string(mount, "source");
    const char *target = json_get_string(mount, "target");
    if (source == NULL || (source[0] != '/' && !is_volume_name(source))) {
        error_set(err, ERROR_INVALID,
                  "%s: mount %zu has a `source` that is neither an absolute path nor the name of a volume", setting,
                  number);
        return NULL;
    }
    if (target == NULL || target[0] != '/' || target[1] == '\0') {
        error_set(err, ERROR_INVALID, "%s: mount %zu has no `target` that is an absolute path", setting, number);
        return NULL;
    }
    size_t home = strlen(DOCKER_HOME);
    if ((strncmp(target, DOCKER_HOME, home) == 0 && strspn(target + home, "/") == strlen(target + home)) ||
        strcmp(target, "/home") == 0) {
        error_set(err, ERROR_INVALID, "%s: mount %zu would hide the user's home " DOCKER_HOME, setting, number);
        return NULL;
    }
    struct json_object *taken = json_object_new_object();
    if (taken == NULL || !(json_add_string(taken, "Type", source[0] == '/' ? "bind" : "volume") &&
                           json_add_string(taken, "Source", source) && json_add_string(taken, "Target", target) &&
                           json_add_bool(taken, "ReadOnly", json_get_bool(mount, "readOnly", true)))) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        json_object_put(taken);
        return NULL;
    }
    return taken;
}

struct json_object *docker_settings_mounts(const char *text, struct error *err) {
    struct error problem = {0};
    cleanup_json struct json_object *list = json_parse(text, strlen(text), &problem);
    if (problem.code != ERROR_NONE) {
        error_set(err, ERROR_INVALID, "TERMINALS_DOCKER_MOUNTS: %s", problem.message);
        return NULL;
    }
    if (!json_object_is_type(list, json_type_array)) {
        error_set(err, ERROR_INVALID, "TERMINALS_DOCKER_MOUNTS is not a JSON array");
        return NULL;
    }
    struct json_object *taken = json_object_new_array();
    for (size_t i = 0; taken != NULL && i < json_object_array_length(list); i++) {
        struct json_object *mount = take_mount(json_object_array_get_idx(list, i), i + 1, err);
        if (mount == NULL || json_object_array_add(taken, mount) != 0) {
            json_object_put(mount);
            json_object_put(taken);
            return NULL;
        }
    }
    if (taken == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return taken;
}

static bool check_publish(const char *address, struct error *err) {
    struct in_addr ipv4;
    struct in6_addr ipv6;
    bool is_ipv4 = inet_pton(AF_INET, address, &ipv4) == 1;
    bool is_ipv6 = inet_pton(AF_INET6, address, &ipv6) == 1;
    if (!is_ipv4 && !is_ipv6) {
        return error_set(err, ERROR_INVALID, "TERMINALS_DOCKER_PUBLISH: `%s` is no IP address", address);
    }
    if ((is_ipv4 && ipv4.s_addr == INADDR_ANY) || (is_ipv6 && IN6_IS_ADDR_UNSPECIFIED(&ipv6))) {
        return error_set(err, ERROR_INVALID,
                         "TERMINALS_DOCKER_PUBLISH: `%s` is no address that HAProxy could connect to: name one of this "
                         "machine",
                         address);
    }
    return true;
}

static bool check_networks(const char *list, struct error *err) {
    size_t length = strlen(list);
    bool good =
        list[0] != ',' && list[length - 1] != ',' && strstr(list, ",,") == NULL && strpbrk(list, " \t/") == NULL;
    return good ||
           error_set(err, ERROR_INVALID, "TERMINALS_DOCKER_NETWORK: `%s` is no comma-separated list of networks", list);
}

static bool check_host(const char *host, struct error *err) {
    bool good = (strncmp(host, "unix:///", 8) == 0 && host[8] != '\0') ||
                (strncmp(host, "tcp://", 6) == 0 && host[6] != '\0' && strpbrk(host + 6, "/ ") == NULL);
    return good || error_set(err, ERROR_INVALID,
                             "TERMINALS_DOCKER_HOST: `%s` is neither unix:///path nor tcp://host:port", host);
}

bool docker_settings_check(const struct settings *settings, struct error *err) {
    if (!check_host(settings->docker_host, err) ||
        (settings->docker_publish != NULL && !check_publish(settings->docker_publish, err)) ||
        (settings->docker_network != NULL && !check_networks(settings->docker_network, err))) {
        return false;
    }
    if (settings->docker_mounts == NULL) {
        return true;
    }
    cleanup_json struct json_object *mounts = docker_settings_mounts(settings->docker_mounts, err);
    return mounts != NULL;
}
