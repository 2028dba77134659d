/* map_internal.h - what maps.c (content and file) and map_push.c (telling HAProxy) share. */
#ifndef TERMINALS_PROVISIONER_MAP_INTERNAL_H
#define TERMINALS_PROVISIONER_MAP_INTERNAL_H

#include <event2/event.h>
#include <uthash.h>

#include "common/buffer.h"
#include "provisioner/map_file.h"
#include "provisioner/maps.h"

#define MAP_RETRY_MS 1000 /* at most, after a file or HAProxy refused something */

/* A key that is in the map, or that HAProxy may still hold. */
struct map_item {
    char *value;       /* may hold an instance's key; NULL: not in the map (any more) */
    off_t line_offset; /* in the file; -1: not there */
    off_t next_offset; /* while the file is being rewritten */
    bool held;         /* HAProxy has, or may have, a value for it */
    bool stale;        /* that is not this value */
    bool dirty;        /* in map->dirty */
    bool in_batch;     /* in map->batch */
    bool is_wanted;    /* by a map_change_to() under way */
    UT_hash_handle hh;
    char key[];
};

struct item_list {
    struct map_item **items;
    size_t count;
    size_t capacity;
};

struct map_waiter;

/* What HAProxy is being told. Each run of PUSH_DELETING and PUSH_ADDING, or of the three others, is a round. */
enum push_state { PUSH_IDLE, PUSH_DELETING, PUSH_ADDING, PUSH_PREPARING, PUSH_LOADING, PUSH_COMMITTING };

struct map {
    struct haproxy_runtime *runtime;
    struct map_file file;
    struct map_item *items; /* by key, in order of arrival */
    size_t count;           /* of those with a value */
    bool is_loaded;         /* until the first map_replace_all() nobody but us knows the content */
    bool file_is_stale;
    struct event *file_retry;

    char *quoted_path; /* the map's name on the command line */
    enum push_state push_state;
    bool needs_everything;   /* the next round is a whole new version */
    struct item_list dirty;  /* for the next round */
    struct item_list batch;  /* of this round, which is neither idle nor a whole version */
    size_t batch_next;       /* the first item of the batch not yet said in this state */
    struct map_item *cursor; /* the next item of the whole version */
    long version;
    int retry_ms;             /* after the next failure */
    unsigned long long round; /* of this round, or the last one */
    double round_began_s;
    struct histogram pushes; /* rounds that HAProxy took; bounds: histogram_bounds_of_latencies */
    struct map_waiter *waiters;
    struct event *turn; /* starts a round when the event loop's turn is over */
};

/* In map_push.c: */
bool map_push_open(struct map *map);
void map_push_close(struct map *map);
/* An item's value has changed. */
void map_push_item(struct map *map, struct map_item *item);
/* Everything has. */
void map_push_all(struct map *map);

/* In maps.c: frees an item that nothing refers to. */
void map_item_forget_if_unused(struct map *map, struct map_item *item);

#endif
