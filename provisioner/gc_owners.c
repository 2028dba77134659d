#include "provisioner/gc_owners.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/names.h"
#include "provisioner/tenants.h"

/* One name, its kind in front: 'i' an instance, 'f' a folder, 'o' an object. */
struct name {
    UT_hash_handle hh;
    char text[];
};

struct gc_owners {
    const struct backend_operations *operations;
    struct name *names;
};

static struct name *find(const struct gc_owners *owners, char kind, const char *text) {
    char key[NAME_FOLDER_SIZE + 1];
    struct name *found = NULL;
    int length = snprintf(key, sizeof key, "%c%s", kind, text);
    if (length > 0 && (size_t)length < sizeof key) {
        HASH_FIND(hh, owners->names, key, (size_t)length, found);
    }
    return found;
}

static bool add(struct gc_owners *owners, char kind, const char *text, struct error *err) {
    if (text[0] == '\0' || find(owners, kind, text) != NULL) {
        return true;
    }
    size_t length = strlen(text) + 1;
    struct name *name = calloc(1, sizeof *name + length + 1);
    if (name == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    name->text[0] = kind;
    memcpy(name->text + 1, text, length);
    HASH_ADD_KEYPTR(hh, owners->names, name->text, length, name);
    return true;
}

static bool add_record(void *argument, const struct tenant_record *record, struct error *err) {
    struct gc_owners *owners = argument;
    char folder[NAME_FOLDER_SIZE];
    char object[NAME_FOLDER_SIZE];
    bool is_named =
        owners->operations->name_instance != NULL
            ? owners->operations->name_instance(record->user_id, record->policy_id, record->context_id, object)
            : name_instance(record->user_id, record->policy_id, record->context_id, object);
    if (!is_named || !name_home_folder(record->user_id, record->policy_id, record->context_id, folder)) {
        return error_set(err, ERROR_INTERNAL, "name what belongs to a tenant");
    }
    return add(owners, 'i', record->instance_id, err) && add(owners, 'f', folder, err) && add(owners, 'o', object, err);
}

struct gc_owners *gc_owners_read(struct provisioner *provisioner, struct error *err) {
    struct gc_owners *owners = calloc(1, sizeof *owners);
    if (owners == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    owners->operations = provisioner->operations;
    bool ok = store_each_tenant(provisioner->store, add_record, owners, err);
    TENANTS_EACH(provisioner, tenant) {
        ok = ok && add_record(owners, &tenant->record, err);
    }
    if (!ok) {
        gc_owners_free(owners);
        return NULL;
    }
    return owners;
}

void gc_owners_free(struct gc_owners *owners) {
    struct name *name = NULL;
    struct name *next = NULL;
    if (owners == NULL) {
        return;
    }
    HASH_ITER(hh, owners->names, name, next) {
        HASH_DEL(owners->names, name);
        free(name);
    }
    free(owners);
}

bool gc_owners_have_instance(const struct gc_owners *owners, const char *instance_id) {
    return find(owners, 'i', instance_id) != NULL;
}

bool gc_owners_have_folder(const struct gc_owners *owners, const char *relative) {
    return find(owners, 'f', relative) != NULL;
}

bool gc_owners_have_files(const struct gc_owners *owners, const char *name) {
    return find(owners, 'o', name) != NULL;
}
