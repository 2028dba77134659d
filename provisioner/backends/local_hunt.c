#include "provisioner/backends/local_hunt.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "provisioner/backends/local_command.h"
#include "provisioner/backends/process.h"

#define PAUSE_MS       5 /* between two looks */
#define PAUSE_BLIND_MS 1000

static void look_in(struct backend *backend, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (evtimer_pending(backend->hunt_timer, NULL) == 0 && evtimer_add(backend->hunt_timer, &after) != 0) {
        log_error(NULL, "what instances have left behind is not ended: out of memory");
    }
}

static void kill_hunted(void *argument, pid_t pid, const char *mark) {
    const struct backend *backend = argument;
    const char *id = mark + strlen(backend->mark_prefix);
    struct local_instance *instance = NULL;
    HASH_FIND_STR(backend->instances, id, instance);
    if (instance != NULL && instance->is_hunted) {
        instance->has_nothing_left = false;
        process_kill_marked(pid, LOCAL_MARK, mark);
    }
}

static struct local_instance *take_one_with_nothing_left(struct backend *backend) {
    struct local_instance *instance = NULL;
    DL_FOREACH(backend->hunted, instance) {
        if (instance->has_nothing_left) {
            local_hunt_cancel(instance);
            return instance;
        }
    }
    return NULL;
}

static void on_look(evutil_socket_t fd, short what, void *argument) {
    struct backend *backend = argument;
    struct local_instance *instance = NULL;
    (void)fd;
    (void)what;
    DL_FOREACH(backend->hunted, instance) {
        instance->has_nothing_left = true;
    }
    if (!process_for_each_marked(LOCAL_MARK, backend->mark_prefix, kill_hunted, backend)) {
        log_warning(NULL, "what instances have left behind is not seen: %s", strerrordesc_np(errno));
        look_in(backend, PAUSE_BLIND_MS);
        return;
    }
    /* Each time from the beginning: whoever is told may forget others, and begin new hunts. */
    while ((instance = take_one_with_nothing_left(backend)) != NULL) {
        backend->on_hunted(instance);
    }
    if (backend->hunted != NULL) {
        look_in(backend, PAUSE_MS);
    }
}

bool local_hunt_open(struct backend *backend, void (*done)(struct local_instance *instance)) {
    backend->on_hunted = done;
    backend->hunt_timer = evtimer_new(backend->base, on_look, backend);
    return backend->hunt_timer != NULL;
}

void local_hunt_close(struct backend *backend) {
    if (backend->hunt_timer != NULL) {
        event_free(backend->hunt_timer);
    }
}

void local_hunt_begin(struct local_instance *instance) {
    if (instance->is_hunted) {
        return;
    }
    instance->is_hunted = true;
    instance->has_nothing_left = false;
    DL_APPEND(instance->backend->hunted, instance);
    look_in(instance->backend, 0);
}

void local_hunt_cancel(struct local_instance *instance) {
    if (instance->is_hunted) {
        DL_DELETE(instance->backend->hunted, instance);
        instance->is_hunted = false;
    }
}
