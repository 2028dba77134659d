#include "instance/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"

#define EVENTS_AT_ONCE 64

struct loop {
    int epoll_fd;
    bool is_stopping;
    int (*before_wait)(void *state);
    void *state;
    struct loop_timer *first_timer; /* sorted by due_ms */
    struct epoll_event batch[EVENTS_AT_ONCE];
    int batch_length;
};

struct loop *loop_new(int (*before_wait)(void *state), void *state) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    loop->before_wait = before_wait;
    loop->state = state;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop) {
    if (loop != NULL) {
        close(loop->epoll_fd);
        free(loop);
    }
}

bool loop_watch_set(struct loop *loop, struct loop_watch *watch, uint32_t events) {
    if (watch->is_added && watch->events == events) {
        return true;
    }
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, watch->is_added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, watch->fd, &event) != 0) {
        return false;
    }
    watch->is_added = true;
    watch->events = events;
    return true;
}

void loop_watch_remove(struct loop *loop, struct loop_watch *watch) {
    if (!watch->is_added) {
        return;
    }
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->is_added = false;
    watch->events = 0;
    /* The owner may be freed now, but an event for it may be in the batch being worked off. */
    for (int i = 0; i < loop->batch_length; i++) {
        if (loop->batch[i].data.ptr == watch) {
            loop->batch[i].data.ptr = NULL;
        }
    }
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer) {
    if (!timer->is_set) {
        return;
    }
    if (timer->previous != NULL) {
        timer->previous->next = timer->next;
    } else {
        loop->first_timer = timer->next;
    }
    if (timer->next != NULL) {
        timer->next->previous = timer->previous;
    }
    timer->is_set = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t delay_ms) {
    loop_timer_clear(loop, timer);
    timer->due_ms = clock_monotonic_ms() + delay_ms;
    struct loop_timer *previous = NULL;
    struct loop_timer *next = loop->first_timer;
    while (next != NULL && next->due_ms <= timer->due_ms) {
        previous = next;
        next = next->next;
    }
    timer->previous = previous;
    timer->next = next;
    if (previous != NULL) {
        previous->next = timer;
    } else {
        loop->first_timer = timer;
    }
    if (next != NULL) {
        next->previous = timer;
    }
    timer->is_set = true;
}

static void run_due_timers(struct loop *loop) {
    if (loop->first_timer == NULL) {
        return;
    }
    int64_t now_ms = clock_monotonic_ms();
    while (loop->first_timer != NULL && loop->first_timer->due_ms <= now_ms) {
        struct loop_timer *timer = loop->first_timer;
        loop_timer_clear(loop, timer);
        timer->expired(timer);
    }
}

/* How long epoll may sleep: until the next timer, or as long as the owner of the loop allows. */
static int wait_ms(struct loop *loop) {
    int limit_ms = loop->before_wait != NULL ? loop->before_wait(loop->state) : -1;
    if (loop->first_timer == NULL) {
        return limit_ms;
    }
    int64_t left_ms = loop->first_timer->due_ms - clock_monotonic_ms();
    if (left_ms < 0) {
        left_ms = 0;
    } else if (left_ms > 3600 * 1000) {
        left_ms = 3600 * 1000;
    }
    return limit_ms >= 0 && limit_ms < left_ms ? limit_ms : (int)left_ms;
}

bool loop_run(struct loop *loop) {
    while (!loop->is_stopping) {
        int count = epoll_wait(loop->epoll_fd, loop->batch, EVENTS_AT_ONCE, wait_ms(loop));
        if (count < 0 && errno != EINTR) {
            return false;
        }
        loop->batch_length = count < 0 ? 0 : count;
        for (int i = 0; i < loop->batch_length; i++) {
            struct loop_watch *watch = loop->batch[i].data.ptr;
            if (watch != NULL) {
                watch->ready(watch, loop->batch[i].events);
            }
        }
        loop->batch_length = 0;
        run_due_timers(loop);
    }
    return true;
}

void loop_stop(struct loop *loop) {
    loop->is_stopping = true;
}
