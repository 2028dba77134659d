#include "provisioner/follower_maps.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/node.h"
#include "provisioner/routes.h"

bool route_parse(char *value, struct route *route) {
    char *parts[4] = {value};
    for (int i = 1; i < 4; i++) {
        char *bar = strchr(parts[i - 1], '|');
        if (bar == NULL) {
            return false;
        }
        *bar = '\0';
        parts[i] = bar + 1;
    }
    char *end = NULL;
    unsigned long port = strtoul(parts[1], &end, 10);
    *route = (struct route){parts[0], (uint16_t)port, parts[2], parts[3]};
    return *end == '\0' && port > 0 && port <= UINT16_MAX;
}

/* The routes while they are read. */
struct reading {
    const struct provisioner *provisioner;
    struct map_entry *entries; /* own their strings */
    size_t count;
    size_t capacity;
};

static void reading_cleanup_function(struct reading *reading) {
    for (size_t i = 0; i < reading->count; i++) {
        free((char *)reading->entries[i].key);
        secret_free((char *)reading->entries[i].value);
    }
    free(reading->entries);
}

static bool make_room(struct reading *reading) {
    if (reading->count < reading->capacity) {
        return true;
    }
    size_t capacity = reading->capacity * 2 + 64;
    struct map_entry *grown = reallocarray(reading->entries, capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    reading->entries = grown;
    reading->capacity = capacity;
    return true;
}

/* A key that cannot be read costs its own route only. */
static bool read_one(void *argument, const struct tenant_record *record, struct error *err) {
    struct reading *reading = argument;
    struct error why;
    cleanup_secret char *key = vault_unseal(reading->provisioner->vault, record->id, record->key_encrypted,
                                            record->key_encrypted_length, &why);
    if (key == NULL) {
        log_warning(NULL, "the route of tenant %s: %s", record->id, why.message);
        return true;
    }
    if (!make_room(reading)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct map_entry *entry = &reading->entries[reading->count++];
    *entry = (struct map_entry){strdup(record->route_key),
                                route_format(record->host, record->port, key, record->instance_id)};
    return (entry->key != NULL && entry->value != NULL) || error_set(err, ERROR_INTERNAL, "out of memory");
}

bool follower_maps_read(struct provisioner *provisioner, struct error *err) {
    __attribute__((cleanup(reading_cleanup_function))) struct reading reading = {.provisioner = provisioner};
    return node_each_route(provisioner->node, read_one, &reading, err) &&
           map_change_to(provisioner->routes, reading.entries, reading.count, err);
}

void follower_maps_put(struct provisioner *provisioner, const char *text) {
    char route_key[DIGEST_HEX_SIZE];
    struct error err = {.message = "it is not to be read"};
    cleanup_secret char *value = node_read_route(provisioner->node, text, route_key);
    if (value == NULL || !map_put(provisioner->routes, route_key, value, &err)) {
        log_warning(NULL, "a route that the leader has announced: %s", err.message);
    }
}
