/* gc_alone.c - gc.h where no provisioner runs: under its lock, and with as much of one as it takes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "provisioner/gc.h"
#include "provisioner/run_folder.h"

#define ORDER_MAX_BYTES (64UL * 1024 * 1024)

/* Nothing is started or adopted, so that nothing is told. */
static const struct backend_events nobody;

struct alone {
    struct provisioner provisioner;
    bool is_done;
    bool ok;
    struct error *err;
};

static void on_done(void *argument, struct json_object *items, const struct error *err) {
    struct alone *alone = argument;
    alone->is_done = true;
    alone->ok = err == NULL;
    if (err != NULL) {
        *alone->err = *err;
    } else {
        printf("{\"items\":%s}\n", json_text(items, &(size_t){0}));
    }
    event_base_loopbreak(alone->provisioner.base);
}

static struct json_object *read_order(struct error *err) {
    cleanup_buffer struct buffer text = {0};
    ssize_t length = 0;
    do {
        char *room = buffer_reserve(&text, 65536);
        length = room == NULL || text.length > ORDER_MAX_BYTES ? -1 : read(STDIN_FILENO, room, 65536);
        text.length += length > 0 ? (size_t)length : 0;
    } while (length > 0);
    if (length < 0) {
        error_set_errno(err, ERROR_INTERNAL, "read what is to be done");
        return NULL;
    }
    return json_parse_object(text.data, text.length, err);
}

/* What provisioner_open() does, without what would change anything. */
static bool open_parts(struct provisioner *provisioner, struct error *err) {
    const struct settings *settings = provisioner->settings;
    const struct backend_operations *operations = provisioner->operations;
    provisioner->store = store_open(settings->database_url, settings->database_password, err);
    if (provisioner->store == NULL) {
        return false;
    }
    if (!operations->shares_one_instance && operations->purge == NULL) {
        provisioner->homes = home_folders_open(settings->data_dir, provisioner->base, err);
        if (provisioner->homes == NULL) {
            return false;
        }
    }
    provisioner->backend = operations->open(settings, provisioner->base, &nobody, err);
    return provisioner->backend != NULL;
}

static void close_parts(struct provisioner *provisioner) {
    if (provisioner->backend != NULL) {
        provisioner->operations->close(provisioner->backend);
    }
    gc_close(provisioner->gc);
    home_folders_close(provisioner->homes);
    store_close(provisioner->store);
}

bool gc_run_alone(const struct settings *settings, const struct backend_operations *operations, struct error *err) {
    cleanup_json struct json_object *request = read_order(err);
    cleanup_close int lock = request == NULL ? -1 : run_folder_lock(settings->run_dir, err);
    if (lock < 0) {
        return false;
    }
    struct gc_order order;
    struct alone alone = {.provisioner = {.settings = settings, .operations = operations, .base = event_base_new()},
                          .err = err};
    if (alone.provisioner.base == NULL) {
        return error_set(err, ERROR_INTERNAL, "open the event loop");
    }
    gc_order_read(request, &order);
    if (open_parts(&alone.provisioner, err)) {
        gc_begin(&alone.provisioner, &order, on_done, &alone);
        if (!alone.is_done) {
            event_base_dispatch(alone.provisioner.base);
        }
    }
    close_parts(&alone.provisioner);
    event_base_free(alone.provisioner.base);
    return alone.ok;
}
