#include "provisioner/gc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "provisioner/gc_folders.h"
#include "provisioner/gc_owners.h"
#include "provisioner/node.h"
#include "provisioner/resets.h"

#define IDENTITY_KIND "identity"
#define IDENTITY_NAME "expired"

enum state { STATE_FOUND, STATE_KEPT, STATE_REMOVED, STATE_FAILED };

/* Something that exists; after judge(), something left over. */
struct candidate {
    const char *kind; /* constant, or own_kind */
    char *own_kind;   /* of an object of the backend's */
    char *name;
    char *handle;      /* of an object of the backend's; else NULL */
    char *instance_id; /* NULL: not of an instance */
    enum gc_folder_kind folder;
    char mark[HOME_FOLDER_MARK_MAX_BYTES + 1]; /* a folder's in the trash */
    bool holds_files;
    bool is_to_go; /* not removed yet */
    enum state state;
    char *error;
};

struct gc {
    struct provisioner *provisioner;
    struct gc_order order; /* holds a reference to `only` */
    struct candidate *candidates;
    size_t count;
    size_t room;
    size_t next; /* the one in hand */
    int64_t expired;
    bool out_of_memory;
    struct event *step;
    void (*done)(void *argument, struct json_object *items, const struct error *err);
    void *argument;
};

/* --- what is there ------------------------------------------------------------------------------------------------ */

static void candidate_clear(struct candidate *candidate) {
    free(candidate->own_kind);
    free(candidate->name);
    free(candidate->handle);
    free(candidate->instance_id);
    free(candidate->error);
    *candidate = (struct candidate){0};
}

/* A new one at the end, to be filled; NULL: no memory, which is noted. */
static struct candidate *append(struct gc *gc, const char *kind, const char *name) {
    if (gc->count == gc->room) {
        size_t room = gc->room == 0 ? 64 : gc->room * 2;
        struct candidate *longer = reallocarray(gc->candidates, room, sizeof *longer);
        if (longer == NULL) {
            gc->out_of_memory = true;
            return NULL;
        }
        gc->candidates = longer;
        gc->room = room;
    }
    struct candidate *candidate = &gc->candidates[gc->count++];
    *candidate = (struct candidate){.kind = kind, .name = strdup(name)};
    gc->out_of_memory = gc->out_of_memory || candidate->name == NULL;
    return candidate;
}

static void on_object(void *argument, const struct backend_object *object) {
    struct gc *gc = argument;
    struct candidate *candidate = append(gc, NULL, object->name);
    if (candidate == NULL) {
        return;
    }
    candidate->own_kind = strdup(object->kind);
    candidate->kind = candidate->own_kind;
    candidate->handle = strdup(object->handle);
    candidate->instance_id = object->instance_id == NULL ? NULL : strdup(object->instance_id);
    candidate->holds_files = object->holds_files;
    gc->out_of_memory = gc->out_of_memory || candidate->own_kind == NULL || candidate->handle == NULL ||
                        (object->instance_id != NULL && candidate->instance_id == NULL);
}

static bool on_folder(void *argument, enum gc_folder_kind kind, const char *name, struct error *err) {
    static const char *const kinds[] = {
        [GC_FOLDER_HOME] = "folder",
        [GC_FOLDER_TRASH] = "trash",
        [GC_FOLDER_WARM] = "warm",
        [GC_FOLDER_REPLACED] = "replaced",
    };
    struct gc *gc = argument;
    const char *last = strrchr(name, '/');
    struct candidate *candidate = append(gc, kinds[kind], name);
    if (candidate == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    candidate->folder = kind;
    candidate->holds_files = kind == GC_FOLDER_HOME || kind == GC_FOLDER_REPLACED;
    if (kind == GC_FOLDER_WARM) {
        candidate->instance_id = strdup(last + 1);
        gc->out_of_memory = gc->out_of_memory || candidate->instance_id == NULL;
    }
    return true;
}

static bool count_identity(void *argument, const struct identity_record *record, struct error *err) {
    (void)record;
    (void)err;
    ++*(int64_t *)argument;
    return true;
}

/* Rows of users' tokens that have had their time: all that there are, but those that have not. */
static bool find_identities(struct gc *gc, struct error *err) {
    int64_t all = 0;
    int64_t valid = 0;
    struct store *store = gc->provisioner->store;
    if (!store_each_identity(store, 0, count_identity, &all, err) ||
        !store_each_identity(store, clock_unix_ms(), count_identity, &valid, err)) {
        return false;
    }
    gc->expired = all - valid;
    return gc->expired <= 0 || append(gc, IDENTITY_KIND, IDENTITY_NAME) != NULL ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

/* --- whose it is -------------------------------------------------------------------------------------------------- */

static bool is_owned(const struct gc *gc, const struct gc_owners *owners, const struct candidate *candidate) {
    if (candidate->handle != NULL) {
        return candidate->holds_files ? gc_owners_have_files(owners, candidate->name)
                                      : gc_owners_have_instance(owners, candidate->instance_id);
    }
    if (strcmp(candidate->kind, IDENTITY_KIND) == 0 || candidate->folder == GC_FOLDER_REPLACED) {
        return false;
    }
    if (candidate->folder == GC_FOLDER_TRASH) {
        /* What a reset has put away says that it was done, until the database does: the reset's to remove. */
        const char *mark = strrchr(candidate->name, '/') + 1;
        return resets_is_mark(mark) || home_folder_is_being_discarded(gc->provisioner->homes, mark);
    }
    return candidate->folder == GC_FOLDER_WARM ? gc_owners_have_instance(owners, candidate->instance_id)
                                               : gc_owners_have_folder(owners, candidate->name);
}

static bool is_among(struct json_object *items, const struct candidate *candidate) {
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        const char *kind = json_get_string(item, "kind");
        const char *name = json_get_string(item, "name");
        if (kind != NULL && name != NULL && strcmp(kind, candidate->kind) == 0 && strcmp(name, candidate->name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_to_be_removed(const struct gc *gc, const struct candidate *candidate) {
    return gc->order.removes && (gc->order.with_files || !candidate->holds_files) &&
           (gc->order.only == NULL || is_among(gc->order.only, candidate));
}

/* Leaves the candidates that nobody owns. */
static void drop_owned(struct gc *gc, const struct gc_owners *owners) {
    size_t kept = 0;
    for (size_t i = 0; i < gc->count; i++) {
        struct candidate *candidate = &gc->candidates[i];
        if (is_owned(gc, owners, candidate)) {
            candidate_clear(candidate);
            continue;
        }
        candidate->is_to_go = is_to_be_removed(gc, candidate);
        candidate->state = gc->order.removes && !candidate->is_to_go ? STATE_KEPT : STATE_FOUND;
        gc->candidates[kept++] = *candidate;
    }
    gc->count = kept;
}

/* --- removing ----------------------------------------------------------------------------------------------------- */

static void settle(struct candidate *candidate, const struct error *err) {
    candidate->is_to_go = false;
    candidate->state = err == NULL ? STATE_REMOVED : STATE_FAILED;
    if (err == NULL) {
        log_info(NULL, "gc: %s `%s` removed", candidate->kind, candidate->name);
    } else {
        candidate->error = strdup(err->message);
        log_warning(NULL, "gc: %s `%s`: %s", candidate->kind, candidate->name, err->message);
    }
}

/* Who leads starts instances, and knows then whose things these are. */
static bool may_remove(const struct gc *gc, struct error *err) {
    return node_may_act(gc->provisioner->node) || error_set(err, ERROR_CAPACITY, "another node may lead by now");
}

/* Before anybody can come and start the instance of one of them. */
static void put_folders_away(struct gc *gc) {
    for (size_t i = 0; i < gc->count; i++) {
        struct candidate *candidate = &gc->candidates[i];
        bool is_folder = candidate->handle == NULL && strcmp(candidate->kind, IDENTITY_KIND) != 0;
        struct error err = {0};
        if (!candidate->is_to_go || !is_folder) {
            continue;
        }
        if (candidate->folder == GC_FOLDER_TRASH) {
            snprintf(candidate->mark, sizeof candidate->mark, "%s", strrchr(candidate->name, '/') + 1);
            continue;
        }
        bool ok = may_remove(gc, &err) &&
                  (digest_uuid(candidate->mark) || error_set(&err, ERROR_INTERNAL, "the kernel gives no random bytes"));
        enum home_folder_put put =
            ok ? home_folder_put_path_away(gc->provisioner->homes, candidate->name, candidate->mark, &err)
               : HOME_FOLDER_FAILED;
        if (put != HOME_FOLDER_PUT_AWAY) {
            settle(candidate, put == HOME_FOLDER_ABSENT ? NULL : &err);
        }
    }
}

static void on_removed(void *argument, const struct error *err) {
    struct gc *gc = argument;
    settle(&gc->candidates[gc->next], err);
    event_active(gc->step, EV_TIMEOUT, 0); /* and not from here: this may have been called at once */
}

static void remove_one(struct gc *gc, const struct candidate *candidate) {
    const struct provisioner *provisioner = gc->provisioner;
    struct error err = {0};
    if (!may_remove(gc, &err)) {
        on_removed(gc, &err);
    } else if (candidate->handle != NULL) {
        provisioner->operations->remove_object(provisioner->backend, candidate->kind, candidate->handle, on_removed,
                                               gc);
    } else if (strcmp(candidate->kind, IDENTITY_KIND) == 0) {
        bool ok = store_forget_identities(provisioner->store, IDENTITIES_EXPIRED, clock_unix_ms(), &err);
        on_removed(gc, ok ? NULL : &err);
    } else {
        home_folder_discard(provisioner->homes, candidate->mark, on_removed, gc);
    }
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

static void describe(const struct gc *gc, const struct candidate *candidate, char *out, size_t size) {
    static const char *const folders[] = {
        [GC_FOLDER_HOME] = "a user's files, without a tenant",
        [GC_FOLDER_TRASH] = "what a deletion has not finished",
        [GC_FOLDER_WARM] = "the home of a warm instance that is no more",
        [GC_FOLDER_REPLACED] = "what a restore has put aside",
    };
    char path[1024];
    char time[CLOCK_RFC3339_SIZE] = "";
    struct stat status;
    if (candidate->handle != NULL) {
        snprintf(out, size, "%s",
                 candidate->holds_files ? "a user's files, without a tenant" : "of an instance that nobody has");
        return;
    }
    if (strcmp(candidate->kind, IDENTITY_KIND) == 0) {
        snprintf(out, size, "%lld users' tokens whose time is over", (long long)gc->expired);
        return;
    }
    snprintf(path, sizeof path, "%s/%s", gc->provisioner->settings->data_dir, candidate->name);
    if (lstat(path, &status) == 0) {
        clock_format_rfc3339((int64_t)status.st_mtim.tv_sec * 1000, time);
    }
    snprintf(out, size, "%s%s%.10s", folders[candidate->folder], time[0] == '\0' ? "" : ", changed ", time);
}

static struct json_object *to_json(const struct gc *gc, const struct candidate *candidate) {
    static const char *const states[] = {"found", "kept", "removed", "failed"};
    char detail[128];
    struct json_object *item = json_object_new_object();
    describe(gc, candidate, detail, sizeof detail);
    if (item == NULL ||
        !(json_add_string(item, "kind", candidate->kind) && json_add_string(item, "name", candidate->name) &&
          json_add_string(item, "detail", detail) && json_add_bool(item, "holds_files", candidate->holds_files) &&
          json_add_string(item, "state", states[candidate->state]) &&
          json_add_string(item, "error", candidate->error))) {
        json_object_put(item);
        return NULL;
    }
    return item;
}

static struct json_object *all_to_json(const struct gc *gc) {
    struct json_object *items = json_object_new_array();
    for (size_t i = 0; items != NULL && i < gc->count; i++) {
        struct json_object *item = to_json(gc, &gc->candidates[i]);
        if (item == NULL || json_object_array_add(items, item) != 0) {
            json_object_put(item);
            json_object_put(items);
            return NULL;
        }
    }
    return items;
}

void gc_close(struct gc *gc) {
    if (gc == NULL) {
        return;
    }
    for (size_t i = 0; i < gc->count; i++) {
        candidate_clear(&gc->candidates[i]);
    }
    free(gc->candidates);
    json_object_put(gc->order.only);
    if (gc->step != NULL) {
        event_free(gc->step);
    }
    gc->provisioner->gc = NULL;
    free(gc);
}

static void finish(struct gc *gc, const struct error *err) {
    struct error failure = err == NULL ? (struct error){0} : *err;
    cleanup_json struct json_object *items = err == NULL ? all_to_json(gc) : NULL;
    void (*done)(void *, struct json_object *, const struct error *) = gc->done;
    void *argument = gc->argument;
    if (err == NULL && items == NULL) {
        error_set(&failure, ERROR_INTERNAL, "out of memory");
    }
    gc_close(gc);
    done(argument, items, items == NULL ? &failure : NULL);
}

static void on_step(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct gc *gc = argument;
    while (gc->next < gc->count && !gc->candidates[gc->next].is_to_go) {
        gc->next++;
    }
    if (gc->next < gc->count) {
        remove_one(gc, &gc->candidates[gc->next]);
    } else {
        finish(gc, NULL);
    }
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static bool judge(struct gc *gc, struct error *err) {
    struct provisioner *provisioner = gc->provisioner;
    if ((provisioner->homes != NULL && !gc_folders_each(provisioner->settings->data_dir, on_folder, gc, err)) ||
        !find_identities(gc, err)) {
        return false;
    }
    if (gc->out_of_memory) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct gc_owners *owners = gc_owners_read(provisioner, err);
    if (owners == NULL) {
        return false;
    }
    drop_owned(gc, owners);
    gc_owners_free(owners);
    return node_renew(provisioner->node, err); /* that took a while */
}

static void on_listed(void *argument, const struct error *err) {
    struct gc *gc = argument;
    struct error failure = err == NULL ? (struct error){0} : *err;
    if (err == NULL && judge(gc, &failure)) {
        put_folders_away(gc);
        event_active(gc->step, EV_TIMEOUT, 0);
    } else {
        finish(gc, &failure);
    }
}

static void tell_failure(void (*done)(void *argument, struct json_object *items, const struct error *err),
                         void *argument, enum error_code code, const char *text) {
    struct error err;
    error_set(&err, code, "%s", text);
    done(argument, NULL, &err);
}

void gc_begin(struct provisioner *provisioner, const struct gc_order *order,
              void (*done)(void *argument, struct json_object *items, const struct error *err), void *argument) {
    if (provisioner->gc != NULL) {
        tell_failure(done, argument, ERROR_CONFLICT, "another gc is under way");
        return;
    }
    struct gc *gc = calloc(1, sizeof *gc);
    if (gc == NULL) {
        tell_failure(done, argument, ERROR_INTERNAL, "out of memory");
        return;
    }
    *gc = (struct gc){.provisioner = provisioner, .order = *order, .done = done, .argument = argument};
    json_object_get(gc->order.only);
    provisioner->gc = gc;
    gc->step = event_new(provisioner->base, -1, 0, on_step, gc);
    if (gc->step == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "out of memory");
        finish(gc, &err);
    } else if (provisioner->operations->list_objects != NULL) {
        provisioner->operations->list_objects(provisioner->backend, on_object, on_listed, gc);
    } else {
        on_listed(gc, NULL);
    }
}

void gc_order_read(struct json_object *request, struct gc_order *order) {
    *order = (struct gc_order){
        .removes = json_get_bool(request, "remove", false),
        .with_files = json_get_bool(request, "folders", false),
        .only = json_get_array(request, "only"),
    };
}
