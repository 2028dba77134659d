/* maps.c - the content of a map, its file, and when HAProxy is told what (map_push.c says it). */
#include "provisioner/maps.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/map_internal.h"

#define KEY_CHARACTERS  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
#define ENTRY_MAX_BYTES 8192 /* a payload of one entry must still fit tune.bufsize */

/* --- entries ------------------------------------------------------------------------------------------------------ */

static struct map_item *find(const struct map *map, const char *key) {
    struct map_item *item = NULL;
    HASH_FIND_STR(map->items, key, item);
    return item;
}

static struct map_item *find_or_add(struct map *map, const char *key) {
    struct map_item *item = find(map, key);
    size_t length = strlen(key);
    if (item != NULL) {
        return item;
    }
    item = calloc(1, sizeof *item + length + 1);
    if (item != NULL) {
        memcpy(item->key, key, length + 1);
        item->line_offset = -1;
        HASH_ADD_STR(map->items, key, item);
    }
    return item;
}

void map_item_forget_if_unused(struct map *map, struct map_item *item) {
    if (item->value == NULL && !item->held && !item->dirty && !item->in_batch) {
        HASH_DEL(map->items, item);
        free(item);
    }
}

static size_t line_length(const struct map_item *item) {
    return strlen(item->key) + strlen(item->value) + 2;
}

/* Takes over `value`, or NULL. */
static void set_value(struct map *map, struct map_item *item, char *value) {
    map->count -= item->value != NULL;
    map->count += value != NULL;
    secret_free(item->value);
    item->value = value;
    item->stale = true;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

/* Writes the whole file from memory. */
static bool rewrite(struct map *map, struct error *err) {
    cleanup_buffer struct buffer content = {0};
    struct map_item *item = NULL;
    struct map_item *next = NULL;
    HASH_ITER(hh, map->items, item, next) {
        item->next_offset = (off_t)content.length;
        if (item->value != NULL) {
            map_file_format_line(&content, item->key, item->value);
        }
    }
    bool written = content.failed ? error_set(err, ERROR_INTERNAL, "out of memory")
                                  : map_file_replace(&map->file, content.data, content.length, err);
    if (content.data != NULL) {
        explicit_bzero(content.data, content.capacity);
    }
    if (!written) {
        return false;
    }
    HASH_ITER(hh, map->items, item, next) {
        item->line_offset = item->value == NULL ? -1 : item->next_offset;
    }
    map->file_is_stale = false;
    return true;
}

/* The file holds what no longer stands in the map, and could not be changed: tries again until it can. */
static void mark_file_stale(struct map *map, const struct error *err) {
    const struct timeval later = {MAP_RETRY_MS / 1000, MAP_RETRY_MS % 1000 * 1000};
    log_error(NULL, "map file is out of date: %s", err->message);
    map->file_is_stale = true;
    if (evtimer_add(map->file_retry, &later) != 0) {
        log_error(NULL, "map file stays out of date: out of memory");
    }
}

static void on_file_retry(evutil_socket_t fd, short what, void *argument) {
    struct map *map = argument;
    struct error err;
    (void)fd;
    (void)what;
    if (map->file_is_stale && !rewrite(map, &err)) {
        mark_file_stale(map, &err);
    }
}

/* Takes an entry's line out of the file. Its value is still there. */
static void remove_line(struct map *map, struct map_item *item) {
    struct error err;
    if (item->line_offset >= 0 && !map_file_remove(&map->file, item->line_offset, line_length(item), &err)) {
        mark_file_stale(map, &err);
    }
    item->line_offset = -1;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static bool is_blank(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* HAProxy strips white space around a value when it reads the file, but not when it is told: such a value would be
 * another one after a restart. */
static bool check_entry(const char *key, const char *value, struct error *err) {
    size_t value_length = strlen(value);
    if (key[0] == '\0' || key[strspn(key, KEY_CHARACTERS)] != '\0') {
        return error_set(err, ERROR_INVALID, "a map's key is made of letters, digits, - and _");
    }
    if (value_length == 0 || strpbrk(value, "\r\n") != NULL || is_blank(value[0]) ||
        is_blank(value[value_length - 1])) {
        return error_set(err, ERROR_INVALID,
                         "a map's value cannot be empty, hold line ends, or begin or end with white space");
    }
    if (strlen(key) + value_length > ENTRY_MAX_BYTES) {
        return error_set(err, ERROR_TOO_LARGE, "a map's entry cannot be longer than %d bytes", ENTRY_MAX_BYTES);
    }
    return true;
}

/* Brings the file up to date after `item` got a value. */
static bool write_added(struct map *map, struct map_item *item, struct error *err) {
    if (map->file_is_stale || map_file_wants_replacing(&map->file)) {
        return rewrite(map, err);
    }
    return map_file_append(&map->file, item->key, item->value, &item->line_offset, err);
}

bool map_put(struct map *map, const char *key, const char *value, struct error *err) {
    if (!check_entry(key, value, err)) {
        map_remove(map, key);
        return false;
    }
    struct map_item *item = find_or_add(map, key);
    char *copy = strdup(value);
    if (item == NULL || copy == NULL) {
        free(copy);
        map_remove(map, key);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (item->value != NULL && strcmp(item->value, value) == 0) {
        secret_free(copy);
        return true;
    }
    if (item->value != NULL) {
        remove_line(map, item); /* before the new line: the first of two would hold */
    }
    set_value(map, item, copy);
    bool written = !map->is_loaded || write_added(map, item, err);
    if (!written) {
        set_value(map, item, NULL);
    }
    map_push_item(map, item);
    return written;
}

void map_remove(struct map *map, const char *key) {
    struct map_item *item = find(map, key);
    if (item == NULL || item->value == NULL) {
        return;
    }
    remove_line(map, item);
    set_value(map, item, NULL);
    map_push_item(map, item);
}

/* Gives the map the new content in memory; of a key that comes twice the first value holds, as in HAProxy. */
static bool set_all(struct map *map, const struct map_entry *entries, size_t count, struct error *err) {
    struct map_item *item = NULL;
    struct map_item *next = NULL;
    HASH_ITER(hh, map->items, item, next) {
        item->line_offset = -1;
        set_value(map, item, NULL);
    }
    for (size_t i = 0; i < count; i++) {
        item = find_or_add(map, entries[i].key);
        if (item != NULL && item->value != NULL) {
            continue;
        }
        char *copy = strdup(entries[i].value);
        if (item == NULL || copy == NULL) {
            free(copy);
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        set_value(map, item, copy);
    }
    return true;
}

bool map_replace_all(struct map *map, const struct map_entry *entries, size_t count, struct error *err) {
    for (size_t i = 0; i < count; i++) {
        if (!check_entry(entries[i].key, entries[i].value, err)) {
            return false;
        }
    }
    bool replaced = set_all(map, entries, count, err) && rewrite(map, err);
    if (!replaced) {
        struct error unwritten = {.message = "a replacement failed"};
        mark_file_stale(map, err == NULL ? &unwritten : err);
    }
    map->is_loaded = true;
    map_push_all(map);
    return replaced;
}

bool map_change_to(struct map *map, const struct map_entry *entries, size_t count, struct error *err) {
    if (!map->is_loaded) {
        return map_replace_all(map, entries, count, err);
    }
    struct map_item *item = NULL;
    struct map_item *next = NULL;
    HASH_ITER(hh, map->items, item, next) {
        item->is_wanted = false;
    }
    for (size_t i = 0; i < count; i++) {
        item = find(map, entries[i].key);
        if (item != NULL) {
            item->is_wanted = true;
        }
    }
    HASH_ITER(hh, map->items, item, next) {
        if (!item->is_wanted) {
            map_remove(map, item->key);
        }
    }
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok = map_put(map, entries[i].key, entries[i].value, err) && ok;
    }
    return ok;
}

/* --- looking, opening, closing ------------------------------------------------------------------------------------ */

const char *map_get(const struct map *map, const char *key) {
    const struct map_item *item = find(map, key);
    return item == NULL ? NULL : item->value;
}

const struct histogram *map_pushes(const struct map *map) {
    return &map->pushes;
}

size_t map_count(const struct map *map) {
    return map->count;
}

struct map *map_open(const char *file, struct haproxy_runtime *runtime) {
    struct map *map = calloc(1, sizeof *map);
    if (map == NULL) {
        return NULL;
    }
    map->runtime = runtime;
    map_file_init(&map->file, file);
    map->file_retry = evtimer_new(haproxy_runtime_event_base(runtime), on_file_retry, map);
    if (map->file.path == NULL || map->file_retry == NULL || !map_push_open(map)) {
        map_close(map);
        return NULL;
    }
    return map;
}

void map_close(struct map *map) {
    if (map == NULL) {
        return;
    }
    map_push_close(map);
    struct map_item *item = map->items;
    HASH_CLEAR(hh, map->items); /* which leaves the items and their order alone */
    while (item != NULL) {
        struct map_item *next = item->hh.next;
        secret_free(item->value);
        free(item);
        item = next;
    }
    if (map->file_retry != NULL) {
        event_free(map->file_retry);
    }
    map_file_close(&map->file);
    free(map);
}
