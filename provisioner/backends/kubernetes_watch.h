/* kubernetes_watch.h - all objects of one kind in our namespace, as a list and a watch keep them current (what
 * client-go calls an informer).
 *
 *   CONNECTING ──list──▶ UP ──watch ends──▶ watch again from where it was ──410 Gone──▶ list again (still UP)
 *   CONNECTING, UP ──no answer──▶ AWAY ──list or watch again, with growing pauses──▶ UP
 *
 * UP means that a watch is open, or is being opened, from the point up to which everything has been told: nothing that
 * happens to an object is missed. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_WATCH_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/error.h"
#include "provisioner/backends/kubernetes_client.h"

#define KUBERNETES_UID_SIZE     64
#define KUBERNETES_VERSION_SIZE 128

/* What is known of an object, whatever its kind; the first member of what a kind keeps of it. */
struct kubernetes_item {
    char name[254];
    char uid[KUBERNETES_UID_SIZE];
    char version[KUBERNETES_VERSION_SIZE]; /* its resourceVersion; "" where none is said */
    UT_hash_handle hh;                     /* in the cache */
};

/* Fills `item` from an object's metadata. False: it has no name or uid, or one of them is too long. */
bool kubernetes_item_read(struct kubernetes_item *item, struct json_object *metadata);

enum kubernetes_link_state { KUBERNETES_LINK_CONNECTING, KUBERNETES_LINK_UP, KUBERNETES_LINK_AWAY };

struct kubernetes_watch_kind {
    const char *api; /* as in kubernetes_request */
    const char *kind;
    const char *selector;  /* "labelSelector=…", escaped; NULL: all of them */
    bool is_metadata_only; /* nothing else of the objects is told: no content of secrets, for one */
    /* A new item, or NULL: it is no such object, or no memory. */
    struct kubernetes_item *(*read)(struct json_object *json);
    void (*free)(struct kubernetes_item *item);
};

struct kubernetes_watch_callbacks {
    void *argument;
    void (*changed)(void *argument, enum kubernetes_link_state state);
    /* One that is new or has changed; with `is_gone`, one that is not there any more. Borrowed. */
    void (*item)(void *argument, const struct kubernetes_item *item, bool is_gone);
    /* A whole list has been told: one that nobody has been told of does not exist, if it existed at `began_ms`
     * (monotonic). */
    void (*listed)(void *argument, int64_t began_ms);
};

struct kubernetes_watch;

/* Begins to connect, from the event loop. `kind` is copied, its texts are borrowed as long as the watch is open. NULL:
 * no memory. */
struct kubernetes_watch *kubernetes_watch_open(struct kubernetes_client *client, struct event_base *base,
                                               const struct kubernetes_watch_kind *kind,
                                               const struct kubernetes_watch_callbacks *callbacks);
/* NULL is fine. */
void kubernetes_watch_close(struct kubernetes_watch *watch);

enum kubernetes_link_state kubernetes_watch_state(const struct kubernetes_watch *watch);
void kubernetes_watch_away_error(const struct kubernetes_watch *watch, struct error *err); /* why it is not UP */

/* NULL: there is none of that name. Valid until the event loop goes on. */
const struct kubernetes_item *kubernetes_watch_find(const struct kubernetes_watch *watch, const char *name);

/* Calls `each` for every item there is, which may take that item away and no other. */
void kubernetes_watch_each(struct kubernetes_watch *watch,
                           void (*each)(void *argument, const struct kubernetes_item *item), void *argument);

/* What we have just been answered about an object that we made or changed, before the watch tells it: the cache has it
 * from now on, and nobody is called. What cannot be read changes nothing. */
void kubernetes_watch_note(struct kubernetes_watch *watch, struct json_object *json);

#endif
