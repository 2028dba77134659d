/* maps.h - identities.map and routes.map: what HAProxy looks up for every request, on disk and in its memory.
 *
 * The content in our memory is the truth. Files are written first (an addition is appended in one write, a removal
 * makes its line a comment, anything else replaces the file atomically), so that an HAProxy that starts at any moment
 * loads what holds; then the runtime API is told, asynchronously and in order. When HAProxy is not there, or is found
 * to be another process than before, everything is pushed again as a new version
 * (`prepare map`, `add map @v … <<`, `commit map`). Never `set map`; deletions of one event loop turn go together
 * (docs: HAProxy 2.6 management guide §9.3). Everything runs on the provisioner's event loop. */
#ifndef TERMINALS_PROVISIONER_MAPS_H
#define TERMINALS_PROVISIONER_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "provisioner/haproxy_runtime.h"
#include "provisioner/histogram.h"

struct map;

/* `file` is the absolute path, which is also HAProxy's name for the map. Starts empty: what an earlier process left in
 * the file, and in HAProxy, stays there until the first map_replace_all(); until then changes are kept in memory only.
 * A file that is missing is made. NULL: no memory. */
struct map *map_open(const char *file, struct haproxy_runtime *runtime);
void map_close(struct map *map);

/* Adds or changes one entry. Keys are letters, digits, - and _; values are not empty, hold no line ends and neither
 * begin nor end with white space (ERROR_INVALID). ERROR_INTERNAL if the file cannot be written. After a failure the
 * entry is not in the map at all, not with its former value either. */
bool map_put(struct map *map, const char *key, const char *value, struct error *err);

/* Removes an entry, if it is there. */
void map_remove(struct map *map, const char *key);

/* Calls `done` once HAProxy holds no entry removed before this call any more (at once if there is no HAProxy). */
void map_flush(struct map *map, void (*done)(void *argument), void *argument);

/* What stands for a key, or NULL; valid until the next change. */
const char *map_get(const struct map *map, const char *key);
size_t map_count(const struct map *map);

/* How long it took to tell HAProxy of changes, each time (histogram_bounds_of_latencies). */
const struct histogram *map_pushes(const struct map *map);

/* Makes the map hold exactly these entries (the first of two with the same key). After ERROR_INVALID it is as before;
 * after ERROR_INTERNAL it holds them, but the file is out of date until a later try, about once a second, succeeds. */
struct map_entry {
    const char *key;
    const char *value;
};
bool map_replace_all(struct map *map, const struct map_entry *entries, size_t count, struct error *err);

/* The same by single changes, of what is different: for a map that is mostly right already. Keys differ from each
 * other. On failure some of it has happened. */
bool map_change_to(struct map *map, const struct map_entry *entries, size_t count, struct error *err);

#endif
