#include "provisioner/operator/work_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"

#define RUNNING_MAX  16
#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 30000
#define DOUBLINGS    10

struct work_queue {
    struct event_base *base;
    void (*run)(struct work *work);
    void *owner;
    bool is_open;
    struct work *all;    /* by name */
    struct work *wanted; /* first come, first served */
    int running;
    struct event *step;
};

static void go_on(struct work_queue *queue) {
    event_active(queue->step, EV_TIMEOUT, 0); /* from the event loop: no recursion */
}

static void want(struct work *work) {
    evtimer_del(work->timer);
    if (!work->is_wanted) {
        work->is_wanted = true;
        DL_APPEND(work->queue->wanted, work);
    }
    go_on(work->queue);
}

static void unwant(struct work *work) {
    if (work->is_wanted) {
        work->is_wanted = false;
        DL_DELETE(work->queue->wanted, work);
    }
}

static void forget(struct work *work) {
    unwant(work);
    HASH_DEL(work->queue->all, work);
    kubernetes_call_cancel(work->call);
    event_free(work->timer);
    free(work);
}

/* Another of this name that is wanted waits until this one is done. */
static struct work *next_wanted(struct work_queue *queue) {
    struct work *work = NULL;
    DL_FOREACH(queue->wanted, work) {
        if (!work->is_running) {
            return work;
        }
    }
    return NULL;
}

static void on_step(evutil_socket_t fd, short what, void *argument) {
    struct work_queue *queue = argument;
    struct work *work = NULL;
    (void)fd;
    (void)what;
    while (queue->is_open && queue->running < RUNNING_MAX && (work = next_wanted(queue)) != NULL) {
        unwant(work);
        work->is_running = true;
        work->steps = 0;
        queue->running++;
        queue->run(work);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    want(argument);
}

static struct work *make(struct work_queue *queue, const char *name) {
    struct work *work = calloc(1, sizeof *work);
    if (work == NULL) {
        return NULL;
    }
    work->timer = evtimer_new(queue->base, on_timer, work);
    if (work->timer == NULL) {
        free(work);
        return NULL;
    }
    work->queue = queue;
    work->owner = queue->owner;
    snprintf(work->name, sizeof work->name, "%s", name);
    HASH_ADD_STR(queue->all, name, work);
    return work;
}

void work_queue_add(struct work_queue *queue, const char *name, const char *mark) {
    struct work *work = NULL;
    HASH_FIND_STR(queue->all, name, work);
    if (work == NULL) {
        work = make(queue, name);
    }
    if (work == NULL) {
        log_error(NULL, "Terminal `%s` is not looked at: out of memory", name);
        return;
    }
    if (mark != NULL && strcmp(mark, work->mark) != 0) {
        snprintf(work->mark, sizeof work->mark, "%s", mark);
        work->failures = 0;
    }
    if (work->failures == 0) {
        want(work);
    }
}

static void end_run(struct work *work) {
    work->is_running = false;
    work->queue->running--;
    go_on(work->queue);
}

static void run_after(struct work *work, int64_t after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (!work->is_wanted && evtimer_add(work->timer, &after) != 0) {
        log_error(NULL, "Terminal `%s`: no timer: out of memory", work->name);
    }
}

void work_done(struct work *work, int64_t again_ms) {
    end_run(work);
    work->failures = 0;
    if (again_ms >= 0) {
        run_after(work, again_ms);
    }
}

void work_over(struct work *work) {
    end_run(work);
    if (!work->is_wanted) {
        forget(work);
    }
}

void work_failed(struct work *work) {
    int64_t pause_ms = (int64_t)PAUSE_MIN_MS << (work->failures < DOUBLINGS ? work->failures : DOUBLINGS);
    end_run(work);
    work->failures++;
    unwant(work);
    run_after(work, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
}

void work_queue_set_open(struct work_queue *queue, bool is_open) {
    struct work *work = NULL;
    struct work *next = NULL;
    queue->is_open = is_open;
    if (is_open) {
        go_on(queue);
        return;
    }
    HASH_ITER(hh, queue->all, work, next) {
        if (work->is_running) {
            kubernetes_call_cancel(work->call);
            work->call = NULL;
            end_run(work);
            want(work);
        }
    }
}

struct work_queue *work_queue_open(struct event_base *base, void (*run)(struct work *work), void *owner) {
    struct work_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return NULL;
    }
    queue->base = base;
    queue->run = run;
    queue->owner = owner;
    queue->step = event_new(base, -1, 0, on_step, queue);
    if (queue->step == NULL) {
        free(queue);
        return NULL;
    }
    return queue;
}

void work_queue_close(struct work_queue *queue) {
    if (queue == NULL) {
        return;
    }
    while (queue->all != NULL) {
        forget(queue->all);
    }
    event_free(queue->step);
    free(queue);
}
