#include "provisioner/front.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/unix_listener.h"
#include "provisioner/identities.h"
#include "provisioner/ipc_server.h"
#include "provisioner/node.h"

/* An absolute path stays as it is, links and all: HAProxy calls its maps by the very same text. */
static bool set_run_dir(struct provisioner *provisioner, struct error *err) {
    const char *run_dir = provisioner->settings->run_dir;
    cleanup_buffer struct buffer path = {0};
    cleanup_free char *here = run_dir[0] == '/' ? strdup("") : getcwd(NULL, 0);
    if (here == NULL) {
        return error_set_errno(err, ERROR_INTERNAL, "find the working directory");
    }
    while (strncmp(run_dir, "./", 2) == 0) {
        run_dir += 2;
    }
    buffer_append_format(&path, "%s%s%s", here, run_dir[0] == '/' ? "" : "/", run_dir);
    provisioner->run_dir = buffer_take(&path);
    return provisioner->run_dir != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* A path in the run folder; the buffer is the caller's to free. */
static bool run_path(const struct provisioner *provisioner, const char *name, struct buffer *path, struct error *err) {
    return buffer_append_format(path, "%s/%s", provisioner->run_dir, name) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

bool front_open_store(struct provisioner *provisioner, struct error *err) {
    const struct settings *settings = provisioner->settings;
    if (!set_run_dir(provisioner, err)) {
        return false;
    }
    provisioner->store = provisioner->node != NULL
                             ? node_store_of(provisioner->node)
                             : store_open(settings->database_url, settings->database_password, err);
    return provisioner->store != NULL;
}

/* A node opens it once: whoever follows must be able to begin while the database is away. */
bool front_open_vault(struct provisioner *provisioner, struct error *err) {
    provisioner->vault = node_vault(provisioner->node);
    if (provisioner->vault != NULL) {
        return true;
    }
    cleanup_buffer struct buffer key_file = {0};
    const char *folder = store_folder(provisioner->store);
    bool ok = folder != NULL ? buffer_append_format(&key_file, "%s/encryption.key", folder)
                             : buffer_append_format(&key_file, "%s/../encryption.key", provisioner->run_dir);
    if (!ok) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    provisioner->vault = vault_open(provisioner->store, provisioner->settings->encryption_key, key_file.data, err);
    node_keep_vault(provisioner->node, provisioner->vault);
    return provisioner->vault != NULL;
}

/* A map is known to HAProxy by its path, which must be absolute. */
static struct map *open_map(struct provisioner *provisioner, const char *name, struct error *err) {
    cleanup_buffer struct buffer file = {0};
    if (!run_path(provisioner, name, &file, err)) {
        return NULL;
    }
    struct map *map = map_open(file.data, provisioner->haproxy);
    if (map == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return map;
}

bool front_open_haproxy(struct provisioner *provisioner, struct error *err) {
    cleanup_buffer struct buffer socket = {0};
    cleanup_buffer struct buffer master = {0};
    if (!run_path(provisioner, "haproxy.sock", &socket, err) ||
        !run_path(provisioner, "haproxy-master.sock", &master, err)) {
        return false;
    }
    provisioner->haproxy = haproxy_runtime_open(socket.data, master.data, provisioner->base);
    if (provisioner->haproxy == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    provisioner->identities = open_map(provisioner, "identities.map", err);
    provisioner->routes = provisioner->identities == NULL ? NULL : open_map(provisioner, "routes.map", err);
    return provisioner->routes != NULL && identities_load(provisioner, err);
}

bool front_open_server(struct provisioner *provisioner,
                       void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                       struct error *err) {
    cleanup_buffer struct buffer path = {0};
    if (provisioner->node != NULL) {
        provisioner->server = node_server(provisioner->node);
        return true;
    }
    int listener =
        run_path(provisioner, "provisioner.sock", &path, err) ? unix_listener_open("provisioner", path.data, err) : -1;
    if (listener < 0) {
        return false;
    }
    provisioner->server = ipc_server_open(listener, provisioner->base, handle, provisioner, err);
    return provisioner->server != NULL;
}

void front_close_server(struct provisioner *provisioner) {
    if (provisioner->node == NULL) {
        ipc_server_close(provisioner->server);
    }
    provisioner->server = NULL;
}

void front_close_haproxy(struct provisioner *provisioner) {
    if (provisioner->routes != NULL) {
        map_close(provisioner->routes);
    }
    if (provisioner->identities != NULL) {
        map_close(provisioner->identities);
    }
    if (provisioner->haproxy != NULL) {
        haproxy_runtime_close(provisioner->haproxy);
    }
    identities_free(provisioner);
}

void front_close_store(struct provisioner *provisioner) {
    if (provisioner->node == NULL) {
        vault_close(provisioner->vault);
        store_close(provisioner->store);
    }
    free(provisioner->run_dir);
}
