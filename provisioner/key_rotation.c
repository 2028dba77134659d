#include "provisioner/key_rotation.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/key_file.h"
#include "provisioner/run_folder.h"
#include "provisioner/tenants.h"

/* A box that is to take the place of a tenant's. */
struct resealed {
    struct tenant *tenant;
    struct sealed_key key;
};

struct resealed_list {
    struct resealed *items;
    struct sealed_key *keys; /* for the store */
    size_t count;
};

static void list_cleanup_function(struct resealed_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free((void *)list->items[i].key.box);
    }
    free(list->items);
    free(list->keys);
}

/* A box that the old key does not open is of no use to anybody: it stays as it is. */
static bool reseal(const struct provisioner *provisioner, const struct vault *successor, struct tenant *tenant,
                   struct resealed_list *list, struct error *err) {
    const struct tenant_record *record = &tenant->record;
    cleanup_secret char *key =
        vault_unseal(provisioner->vault, record->id, record->key_encrypted, record->key_encrypted_length, NULL);
    if (key == NULL) {
        log_warning(NULL, "the key of instance %s cannot be read, and is left as it is", record->instance_name);
        return true;
    }
    struct resealed *item = &list->items[list->count];
    item->tenant = tenant;
    item->key.tenant_id = record->id;
    item->key.box = vault_seal(successor, record->id, key, &item->key.length, err);
    if (item->key.box == NULL) {
        return false;
    }
    list->keys[list->count++] = item->key;
    return true;
}

static bool reseal_all(const struct provisioner *provisioner, const struct vault *successor, struct resealed_list *list,
                       struct error *err) {
    size_t count = HASH_CNT(by_route, provisioner->tenants_by_route) + 1;
    list->items = calloc(count, sizeof *list->items);
    list->keys = calloc(count, sizeof *list->keys);
    if (list->items == NULL || list->keys == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    TENANTS_EACH(provisioner, tenant) {
        if (tenant->record.key_encrypted != NULL && !reseal(provisioner, successor, tenant, list, err)) {
            return false;
        }
    }
    return true;
}

/* The rows in memory are written again and again: they must not bring back what the old key sealed. */
static void swap_boxes(struct resealed_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        struct tenant_record *record = &list->items[i].tenant->record;
        free(record->key_encrypted);
        record->key_encrypted = (void *)list->items[i].key.box;
        record->key_encrypted_length = list->items[i].key.length;
        list->items[i].key.box = NULL;
    }
}

static bool write_all(const struct provisioner *provisioner, const struct vault *successor,
                      const struct resealed_list *list, struct error *err) {
    size_t length = 0;
    cleanup_free void *check = vault_check_value(successor, &length, err);
    return check != NULL &&
           store_replace_keys(provisioner->store, list->keys, list->count, VAULT_CHECK_NAME, check, length, err);
}

static void successor_cleanup_function(struct vault **vault) {
    vault_close(*vault);
}

bool key_rotation_run(struct provisioner *provisioner, const char *new_key, size_t *count, struct error *err) {
    __attribute__((cleanup(list_cleanup_function))) struct resealed_list list = {0};
    __attribute__((cleanup(successor_cleanup_function))) struct vault *successor =
        vault_successor(provisioner->vault, new_key, err);
    if (successor == NULL) {
        return false;
    }
    if (!reseal_all(provisioner, successor, &list, err)) {
        vault_abandon(successor);
        return false;
    }
    /* After a failed commit nobody knows what a power cut would leave: both files stay, and the next start decides. */
    if (!write_all(provisioner, successor, &list, err)) {
        return false;
    }
    swap_boxes(&list);
    *count = list.count;
    log_info(NULL, "the encryption key was changed: %zu instance keys were sealed anew", list.count);
    return vault_succeed(provisioner->vault, successor, err) ||
           error_prefix(err, "the key was changed, but its file waits for the next start to take its place");
}

bool key_rotation_run_alone(const struct settings *settings, const struct backend_operations *operations,
                            const char *new_key_file, size_t *count, struct error *err) {
    struct provisioner provisioner;
    cleanup_secret char *new_key = NULL;
    int found = new_key_file == NULL ? 1 : key_file_read(new_key_file, &new_key, err);
    if (found <= 0) {
        return found < 0 ? false : error_set(err, ERROR_INVALID, "there is no file `%s`", new_key_file);
    }
    cleanup_close int lock = run_folder_lock(settings->run_dir, err);
    if (lock < 0) {
        return false;
    }
    bool changed = provisioner_open_state(&provisioner, settings, operations, NULL, err) &&
                   key_rotation_run(&provisioner, new_key, count, err);
    provisioner_close(&provisioner);
    return changed;
}
