/* map_push.c - telling HAProxy what is in a map.
 *
 * Changes of one turn of the event loop are told in one round, deletions first (somebody waits for them in
 * map_flush()), then additions; a changed value is a deletion and an addition, since `set map` is slow and of two
 * additions the first holds. While a round is under way further changes gather, one mark an entry however often it
 * changes: a HAProxy that stands still makes nothing grow. After a failure, and when HAProxy is another process,
 * everything is told as a new version, which HAProxy takes over in one step. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "provisioner/map_internal.h"

#define COMMAND_MAX_BYTES 15000 /* tune.bufsize is 16384, and a longer command is dropped without a word */
#define ENTRIES_MAX       200   /* in one payload: HAProxy works on one without a break */

/* In one round. Each walks the whole map, about 50 ns an entry; a new version costs about 5 µs an entry. */
#define DELETIONS_MAX 100

/* After a refusal. The first comes soon: a reload in the middle of a version makes the new worker refuse the rest. */
#define RETRY_FIRST_MS 20

struct map_waiter {
    unsigned long long round;
    void (*done)(void *argument);
    void *argument;
    struct map_waiter *next;
};

static void begin_round(struct map *map);
static void delete_more(struct map *map);
static void add_more(struct map *map);
static void load_more(struct map *map);

static bool list_add(struct item_list *list, struct map_item *item) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct map_item **items = reallocarray(list->items, capacity, sizeof(void *));
        if (items == NULL) {
            return false;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return true;
}

static void start_turn(struct map *map, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (!evtimer_pending(map->turn, NULL) && evtimer_add(map->turn, &after) != 0) {
        log_error(NULL, "HAProxy is not told of a change: out of memory");
    }
}

/* Calls all who wait for the deletions of `round` or an earlier one; takes them off first, since they may ask again. */
static void wake_waiters(struct map *map, unsigned long long round) {
    struct map_waiter *woken = NULL;
    for (struct map_waiter **link = &map->waiters; *link != NULL;) {
        struct map_waiter *waiter = *link;
        if (waiter->round <= round) {
            *link = waiter->next;
            waiter->next = woken;
            woken = waiter;
        } else {
            link = &waiter->next;
        }
    }
    while (woken != NULL) {
        struct map_waiter *waiter = woken;
        woken = waiter->next;
        waiter->done(waiter->argument);
        free(waiter);
    }
}

static void forget_batch(struct map *map) {
    for (size_t i = 0; i < map->batch.count; i++) {
        map->batch.items[i]->in_batch = false;
    }
    for (size_t i = 0; i < map->batch.count; i++) {
        map_item_forget_if_unused(map, map->batch.items[i]);
    }
    map->batch.count = 0;
}

static void end_round(struct map *map) {
    histogram_observe(&map->pushes, &histogram_bounds_of_latencies, histogram_now_seconds() - map->round_began_s);
    map->push_state = PUSH_IDLE;
    forget_batch(map);
    if (map->needs_everything || map->dirty.count > 0) {
        start_turn(map, 0);
    }
}

/* HAProxy went away, or did not like what it was told: all over again, when it is back or a little later. */
static void fail_round(struct map *map, const char *answer) {
    map->push_state = PUSH_IDLE;
    map->needs_everything = true;
    forget_batch(map);
    if (answer != NULL) {
        log_warning(NULL, "HAProxy does not take `%s`: %.*s", map->file.path, (int)strcspn(answer, "\n"), answer);
    }
    start_turn(map, map->retry_ms);
    map->retry_ms = map->retry_ms * 2 < MAP_RETRY_MS ? map->retry_ms * 2 : MAP_RETRY_MS;
    wake_waiters(map, map->round + 1); /* nothing better can be promised now */
}

static bool is_empty_answer(const char *answer) {
    return answer[strspn(answer, "\r\n ")] == '\0';
}

static void send_command(struct map *map, const struct buffer *command,
                         void (*done)(void *argument, const char *answer)) {
    if (command->failed) {
        done(map, NULL);
    } else {
        haproxy_runtime_command(map->runtime, command->data, done, map);
    }
}

/* --- a round of changes ------------------------------------------------------------------------------------------- */

static void on_deleted(void *argument, const char *answer) {
    struct map *map = argument;
    if (answer == NULL) {
        fail_round(map, NULL);
        return;
    }
    delete_more(map);
}

static void on_added(void *argument, const char *answer) {
    struct map *map = argument;
    if (answer == NULL || !is_empty_answer(answer)) {
        fail_round(map, answer);
        return;
    }
    add_more(map);
}

/* `del map f k1;del map f k2;…` as one command. An answer "Key not found" is as good as any. */
static void delete_more(struct map *map) {
    cleanup_buffer struct buffer command = {0};
    size_t longest = strlen("del map ;") + strlen(map->quoted_path) + 1;
    while (map->batch_next < map->batch.count) {
        struct map_item *item = map->batch.items[map->batch_next];
        if (item->held && (item->value == NULL || item->stale)) {
            if (command.length > 0 && command.length + longest + strlen(item->key) > COMMAND_MAX_BYTES) {
                break;
            }
            buffer_append_format(&command, "%sdel map %s %s", command.length > 0 ? ";" : "", map->quoted_path,
                                 item->key);
            item->held = false;
        }
        map->batch_next++;
    }
    if (command.length > 0) {
        send_command(map, &command, on_deleted);
        return;
    }
    wake_waiters(map, map->round);
    map->push_state = PUSH_ADDING;
    map->batch_next = 0;
    add_more(map);
}

/* Appends one entry to a payload, if there is room. From then on HAProxy may hold it. */
static bool add_to_payload(struct buffer *command, struct map_item *item) {
    if (command->length + strlen(item->key) + strlen(item->value) + 3 > COMMAND_MAX_BYTES) {
        return false;
    }
    map_file_format_line(command, item->key, item->value);
    item->held = true;
    item->stale = false;
    return true;
}

static void add_more(struct map *map) {
    cleanup_buffer struct buffer command = {0};
    size_t entries = 0;
    buffer_append_format(&command, "add map %s <<\n", map->quoted_path);
    while (map->batch_next < map->batch.count && entries < ENTRIES_MAX) {
        struct map_item *item = map->batch.items[map->batch_next];
        if (item->value != NULL && !item->held) {
            if (!add_to_payload(&command, item)) {
                break;
            }
            entries++;
        }
        map->batch_next++;
    }
    if (entries > 0) {
        send_command(map, &command, on_added);
    } else {
        end_round(map);
    }
    if (command.data != NULL) {
        explicit_bzero(command.data, command.capacity); /* instance keys */
    }
}

/* --- a round with everything -------------------------------------------------------------------------------------- */

static void on_committed(void *argument, const char *answer) {
    struct map *map = argument;
    if (answer == NULL || !is_empty_answer(answer)) {
        fail_round(map, answer);
        return;
    }
    map->retry_ms = RETRY_FIRST_MS;
    wake_waiters(map, map->round);
    end_round(map);
}

static void on_loaded(void *argument, const char *answer) {
    struct map *map = argument;
    if (answer == NULL || !is_empty_answer(answer)) {
        fail_round(map, answer);
        return;
    }
    load_more(map);
}

static void on_prepared(void *argument, const char *answer) {
    static const char success[] = "New version created: ";
    struct map *map = argument;
    if (answer == NULL || strncmp(answer, success, strlen(success)) != 0) {
        fail_round(map, answer);
        return;
    }
    map->version = strtol(answer + strlen(success), NULL, 10);
    map->cursor = map->items;
    map->push_state = PUSH_LOADING;
    load_more(map);
}

/* Items are never forgotten during such a round, and new ones come at the end: the cursor stays right. */
static void load_more(struct map *map) {
    cleanup_buffer struct buffer command = {0};
    size_t entries = 0;
    buffer_append_format(&command, "add map @%ld %s <<\n", map->version, map->quoted_path);
    while (map->cursor != NULL && entries < ENTRIES_MAX) {
        if (map->cursor->value != NULL) {
            if (!add_to_payload(&command, map->cursor)) {
                break;
            }
            entries++;
        }
        map->cursor = map->cursor->hh.next;
    }
    if (entries > 0) {
        send_command(map, &command, on_loaded);
    } else {
        buffer_free(&command);
        buffer_append_format(&command, "commit map @%ld %s", map->version, map->quoted_path);
        map->push_state = PUSH_COMMITTING;
        send_command(map, &command, on_committed);
    }
    if (command.data != NULL) {
        explicit_bzero(command.data, command.capacity);
    }
}

static void begin_everything(struct map *map) {
    cleanup_buffer struct buffer command = {0};
    struct map_item *item = NULL;
    struct map_item *next = NULL;
    map->needs_everything = false;
    map->push_state = PUSH_PREPARING;
    map->dirty.count = 0;
    HASH_ITER(hh, map->items, item, next) {
        item->held = false;
        item->dirty = false;
        item->stale = false;
        map_item_forget_if_unused(map, item);
    }
    buffer_append_format(&command, "prepare map %s", map->quoted_path);
    send_command(map, &command, on_prepared);
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

static void begin_round(struct map *map) {
    size_t deletions = 0;
    if (map->push_state != PUSH_IDLE || !map->is_loaded) {
        return;
    }
    if (!haproxy_runtime_is_up(map->runtime)) {
        map->needs_everything = true;
        wake_waiters(map, map->round + 1);
        return;
    }
    map->round++;
    map->round_began_s = histogram_now_seconds();
    for (size_t i = 0; i < map->dirty.count; i++) {
        deletions += map->dirty.items[i]->held;
    }
    if (map->needs_everything || deletions > DELETIONS_MAX) {
        begin_everything(map);
        return;
    }
    const struct item_list empty = map->batch;
    map->batch = map->dirty;
    map->dirty = empty;
    for (size_t i = 0; i < map->batch.count; i++) {
        map->batch.items[i]->dirty = false;
        map->batch.items[i]->in_batch = true;
    }
    map->push_state = PUSH_DELETING;
    map->batch_next = 0;
    delete_more(map);
}

static void on_turn(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    begin_round(argument);
}

static void on_restart(void *argument) {
    struct map *map = argument;
    map->needs_everything = true;
    begin_round(map);
}

void map_push_item(struct map *map, struct map_item *item) {
    if (map->needs_everything) { /* the whole version will have it, so nothing grows while HAProxy is away */
        if (map->push_state == PUSH_IDLE) {
            item->held = false;
            map_item_forget_if_unused(map, item);
        }
    } else if (!item->dirty) {
        item->dirty = list_add(&map->dirty, item);
        map->needs_everything = !item->dirty;
    }
    start_turn(map, 0);
}

void map_push_all(struct map *map) {
    map->needs_everything = true;
    start_turn(map, 0);
}

void map_flush(struct map *map, void (*done)(void *argument), void *argument) {
    bool has_more = map->needs_everything || map->dirty.count > 0;
    bool deletes = map->push_state != PUSH_IDLE && map->push_state != PUSH_ADDING;
    struct map_waiter *waiter = NULL;
    if (map->is_loaded && haproxy_runtime_is_up(map->runtime) && (has_more || deletes)) {
        waiter = malloc(sizeof *waiter);
    }
    if (waiter == NULL) {
        done(argument);
        return;
    }
    *waiter = (struct map_waiter){map->round + (has_more ? 1 : 0), done, argument, map->waiters};
    map->waiters = waiter;
}

/* On HAProxy's command line a backslash takes a byte as it is (management guide §9.3). */
static char *quote(const char *path) {
    struct buffer quoted = {0};
    for (const char *at = path; *at != '\0'; at++) {
        if (strchr(" \\;", *at) != NULL) {
            buffer_append(&quoted, "\\", 1);
        }
        buffer_append(&quoted, at, 1);
    }
    return buffer_take(&quoted);
}

bool map_push_open(struct map *map) {
    map->retry_ms = RETRY_FIRST_MS;
    map->quoted_path = quote(map->file.path);
    map->turn = evtimer_new(haproxy_runtime_event_base(map->runtime), on_turn, map);
    return map->quoted_path != NULL && map->turn != NULL && haproxy_runtime_on_restart(map->runtime, on_restart, map);
}

void map_push_close(struct map *map) {
    if (map->turn != NULL) {
        event_free(map->turn);
    }
    while (map->waiters != NULL) {
        struct map_waiter *waiter = map->waiters;
        map->waiters = waiter->next;
        free(waiter);
    }
    free(map->quoted_path);
    free(map->dirty.items);
    free(map->batch.items);
}
