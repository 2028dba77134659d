#include "provisioner/backends/docker_container.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_VARIABLE "OPEN_TERMINAL_API_KEY="

static const char *find_key(struct json_object *environment) {
    size_t count = environment == NULL ? 0 : json_object_array_length(environment);
    for (size_t i = 0; i < count; i++) {
        const char *entry = json_object_get_string(json_object_array_get_idx(environment, i));
        if (entry != NULL && strncmp(entry, KEY_VARIABLE, strlen(KEY_VARIABLE)) == 0) {
            return entry + strlen(KEY_VARIABLE);
        }
    }
    return NULL;
}

bool docker_container_read(struct json_object *json, struct docker_container *out) {
    struct json_object *state = json_get_object(json, "State");
    struct json_object *config = json_get_object(json, "Config");
    *out = (struct docker_container){
        .id = json_get_string(json, "Id"),
        .is_paused = json_get_bool(state, "Paused", false),
        .was_killed_for_memory = json_get_bool(state, "OOMKilled", false),
        .pid = (pid_t)json_get_int(state, "Pid", 0),
        .exit_code = json_get_int(state, "ExitCode", -1),
        .key = find_key(json_get_array(config, "Env")),
        .json = json,
    };
    out->is_running = json_get_bool(state, "Running", false) && !out->is_paused;
    docker_labels_read(json_get_object(config, "Labels"), &out->labels);
    return out->id != NULL && strlen(out->id) < DOCKER_ID_SIZE && state != NULL;
}

static bool take_host(const char *host, struct instance_address *out) {
    struct in6_addr binary;
    if (host == NULL || strlen(host) >= sizeof out->host ||
        (inet_pton(AF_INET, host, &binary) != 1 && inet_pton(AF_INET6, host, &binary) != 1)) {
        return false;
    }
    snprintf(out->host, sizeof out->host, "%s", host);
    return true;
}

static bool take_published(struct json_object *ports, struct instance_address *out) {
    struct json_object *bindings = json_get_array(ports, DOCKER_PORT_NAME);
    size_t count = bindings == NULL ? 0 : json_object_array_length(bindings);
    for (size_t i = 0; i < count; i++) {
        struct json_object *binding = json_object_array_get_idx(bindings, i);
        const char *text = json_get_string(binding, "HostPort");
        long port = text == NULL ? 0 : strtol(text, NULL, 10);
        if (port > 0 && port <= UINT16_MAX && take_host(json_get_string(binding, "HostIp"), out)) {
            out->port = (uint16_t)port;
            return true;
        }
    }
    return false;
}

static bool take_network(struct json_object *network, struct instance_address *out) {
    out->port = DOCKER_INSTANCE_PORT;
    return take_host(json_get_string(network, "IPAddress"), out) ||
           take_host(json_get_string(network, "GlobalIPv6Address"), out);
}

bool docker_container_address(const struct docker_container *container, bool published, const char *network,
                              struct instance_address *out, struct error *err) {
    struct json_object *settings = json_get_object(container->json, "NetworkSettings");
    if (published) {
        return take_published(json_get_object(settings, "Ports"), out) ||
               error_set(err, ERROR_BACKEND, "its port " DOCKER_PORT_NAME " is not published");
    }
    struct json_object *networks = json_get_object(settings, "Networks");
    if (take_network(json_get_object(networks, network), out)) {
        return true;
    }
    if (networks != NULL) {
        json_object_object_foreach(networks, name, attachment) {
            (void)name;
            if (json_object_is_type(attachment, json_type_object) && take_network(attachment, out)) {
                return true;
            }
        }
    }
    return error_set(err, ERROR_BACKEND, "it has an address in no network");
}
