/* loop.h - the event loop: one epoll set, its watches and timers. Everything happens on the thread that runs it.
 *
 * Watches and timers are embedded in what they belong to; loop_owner() gets from one to the other. Inside a callback
 * any watch or timer may be removed, also the one called and others whose events are due. */
#ifndef TERMINALS_INSTANCE_LOOP_H
#define TERMINALS_INSTANCE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

struct loop_watch {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT, …, as last asked for; 0 is allowed: only errors and hang-ups */
    bool is_added;
    void (*ready)(struct loop_watch *watch, uint32_t events);
};

struct loop_timer {
    int64_t due_ms; /* on clock_monotonic_ms() */
    bool is_set;
    void (*expired)(struct loop_timer *timer);
    struct loop_timer *previous;
    struct loop_timer *next;
};

#define loop_owner(member_pointer, type, member) ((type *)((char *)(member_pointer)-offsetof(type, member)))

/* `before_wait` is called before each wait and returns for how many milliseconds to wait at most (-1: no limit).
 * NULL: no memory or no descriptors, errno says. */
struct loop *loop_new(int (*before_wait)(void *state), void *state);
void loop_free(struct loop *loop);

/* Watches watch->fd for `events` (level-triggered), or changes what it is watched for. False: errno says. */
bool loop_watch_set(struct loop *loop, struct loop_watch *watch, uint32_t events);
/* Fine on a watch that was never added. Call it before closing the descriptor. */
void loop_watch_remove(struct loop *loop, struct loop_watch *watch);

/* Calls timer->expired once, `delay_ms` from now; setting it again moves it. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* Runs until loop_stop(). False: epoll failed, errno says. */
bool loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
