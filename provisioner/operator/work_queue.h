/* work_queue.h - names to look at: each once, however often it is added, and never two at a time of one name.
 *
 *   (nothing) ──add──▶ WAITING ──its turn──▶ RUNNING ──done──▶ (nothing)
 *   RUNNING ──add──▶ once more, after it is done
 *   RUNNING ──failed──▶ WAITING, after a pause that doubles: 50 ms … 30 s
 *
 * Nothing runs while the queue is closed for work (work_queue_set_open()). */
#ifndef TERMINALS_PROVISIONER_OPERATOR_WORK_QUEUE_H
#define TERMINALS_PROVISIONER_OPERATOR_WORK_QUEUE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/error.h"
#include "provisioner/backends/kubernetes_client.h"
#include "provisioner/backends/kubernetes_watch.h"

struct work_queue;

/* A name in the queue. What is below `hh` is for who runs it. */
struct work {
    char name[254];
    struct work_queue *queue;
    bool is_running;
    bool is_wanted; /* to be run, as soon as there is room */
    int failures;   /* in a row */
    char mark[160]; /* what was said last of what it is asked to do */
    struct event *timer;
    struct work *prev, *next; /* while it is wanted */
    UT_hash_handle hh;

    void *owner;
    struct kubernetes_call *call; /* cancelled when the queue stops it */
    void (*answered)(struct work *work, const struct kubernetes_answer *answer);
    int steps;                           /* of this run */
    int making;                          /* enum controller_watch: which kind the call under way makes */
    char going_uid[KUBERNETES_UID_SIZE]; /* of a pod that is on its way out, and since when that is seen */
    int64_t going_since_ms;
    char phase[16];       /* what the status said before the call under way */
    struct error problem; /* what it failed by last; ERROR_NONE: nothing */
    int64_t pod_made_ms;  /* monotonic; 0: none by us */
    int pod_failures;     /* pods in a row that ended soon */
};

/* `run` is called from the event loop, and ends sooner or later in work_done() or work_failed(). NULL: no memory. */
struct work_queue *work_queue_open(struct event_base *base, void (*run)(struct work *work), void *owner);
/* Forgets everything and cancels what runs. NULL is fine. */
void work_queue_close(struct work_queue *queue);

/* Closed: what runs is stopped, and nothing else begins. */
void work_queue_set_open(struct work_queue *queue, bool is_open);

/* Puts a name in. What failed has its pause first, unless `mark` is another than the last one that was said: a text of
 * what it is asked to do (NULL: nothing is said of that). What cannot be put in for lack of memory is logged: the next
 * list finds it. */
void work_queue_add(struct work_queue *queue, const char *name, const char *mark);

/* The end of a run. `again_ms`: when to look again if nothing happens before; negative: not at all. */
void work_done(struct work *work, int64_t again_ms);
/* The end of a run that could not do what it had to: it is run again after a pause. */
void work_failed(struct work *work);
/* The end of a run, and of the name: there is nothing of it any more. */
void work_over(struct work *work);

#endif
