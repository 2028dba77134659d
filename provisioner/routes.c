#include "provisioner/routes.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/node.h"

char *route_format(const char *host, uint16_t port, const char *key, const char *instance_id) {
    struct buffer value = {0};
    buffer_append_format(&value, "%s|%u|%s|%s", host, port, key, instance_id);
    char *text = buffer_take(&value);
    if (text == NULL) {
        buffer_free(&value);
    }
    return text;
}

static char *route_value(const struct tenant *tenant) {
    return route_format(tenant->record.host, tenant->record.port, tenant->key, tenant->record.instance_id);
}

static bool has_route(const struct tenant *tenant) {
    return !tenant->is_warm && tenant->record.status == INSTANCE_RUNNING && tenant->is_live && !tenant->is_draining &&
           tenant->key != NULL && tenant->record.host[0] != '\0';
}

void route_publish(struct provisioner *provisioner, struct tenant *tenant) {
    if (!provisioner->routes_are_built || !has_route(tenant)) {
        return;
    }
    struct error err = {0};
    cleanup_secret char *value = route_value(tenant);
    const char *current = map_get(provisioner->routes, tenant->record.route_key);
    if (value != NULL && current != NULL && strcmp(current, value) == 0) {
        return;
    }
    if (value == NULL || !map_put(provisioner->routes, tenant->record.route_key, value, &err)) {
        log_warning(NULL, "publish the route of %s: %s", tenant->record.instance_name,
                    value == NULL ? "out of memory" : err.message);
    } else {
        node_announce_route(provisioner->node, tenant->record.route_key, value);
    }
}

void route_withdraw(struct provisioner *provisioner, struct tenant *tenant) {
    if (provisioner->routes_are_built) {
        map_remove(provisioner->routes, tenant->record.route_key);
        node_announce(provisioner->node, ANNOUNCE_NO_ROUTE, tenant->record.route_key);
    }
}

static void entries_free(struct map_entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        secret_free((char *)entries[i].value);
    }
    free(entries);
}

void routes_build(struct provisioner *provisioner) {
    if (provisioner->routes_are_built) {
        return;
    }
    provisioner->routes_are_built = true;
    struct error err = {0};
    size_t count = 0;
    struct map_entry *entries = calloc(HASH_CNT(by_instance, provisioner->tenants_by_instance) + 1, sizeof *entries);
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (entries != NULL && has_route(tenant)) {
            entries[count].key = tenant->record.route_key;
            entries[count].value = route_value(tenant);
            count += entries[count].value != NULL;
        }
    }
    if (entries == NULL || !map_replace_all(provisioner->routes, entries, count, &err)) {
        log_error(NULL, "rebuild routes.map: %s", entries == NULL ? "out of memory" : err.message);
    }
    if (entries != NULL) {
        entries_free(entries, count);
    }
    node_announce(provisioner->node, ANNOUNCE_ROUTES, "");
}

void routes_announce_unwritten(struct provisioner *provisioner) {
    TENANTS_EACH(provisioner, tenant) {
        if (!tenant->is_draining && !tenant->row_is_stale) {
            continue;
        }
        const char *value = map_get(provisioner->routes, tenant->record.route_key);
        if (value != NULL) {
            node_announce_route(provisioner->node, tenant->record.route_key, value);
        } else {
            node_announce(provisioner->node, ANNOUNCE_NO_ROUTE, tenant->record.route_key);
        }
    }
}
