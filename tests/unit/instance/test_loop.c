#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/loop.h"

static struct loop *loop;
static int order[16];
static int order_length;

struct numbered_timer {
    struct loop_timer timer;
    int number;
};

static void note(struct loop_timer *timer) {
    order[order_length++] = loop_owner(timer, struct numbered_timer, timer)->number;
}

static void stop(struct loop_timer *timer) {
    (void)timer;
    loop_stop(loop);
}

static void test_timers_come_in_order_and_cleared_ones_never(void **state) {
    (void)state;
    loop = loop_new(NULL, NULL);
    order_length = 0;
    struct numbered_timer timers[4] = {
        {{.expired = note}, 0}, {{.expired = note}, 1}, {{.expired = note}, 2}, {{.expired = note}, 3}};
    struct loop_timer last = {.expired = stop};
    loop_timer_set(loop, &timers[2].timer, 6);
    loop_timer_set(loop, &timers[0].timer, 2);
    loop_timer_set(loop, &timers[1].timer, 4);
    loop_timer_set(loop, &timers[3].timer, 5);
    loop_timer_set(loop, &last, 10);
    loop_timer_clear(loop, &timers[3].timer);
    loop_timer_clear(loop, &timers[3].timer);
    loop_timer_set(loop, &timers[0].timer, 8);
    assert_true(loop_run(loop));
    assert_int_equal(order_length, 3);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 0);
    loop_free(loop);
}

struct pair {
    struct loop_watch watch;
    struct pair *other;
};

static int ready_count;

/* Both are ready at once; the first to be called takes the other away. */
static void remove_other(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct pair *pair = loop_owner(watch, struct pair, watch);
    ready_count++;
    loop_watch_remove(loop, &pair->other->watch);
    loop_stop(loop);
}

static void test_a_removed_watch_is_not_called_any_more(void **state) {
    (void)state;
    loop = loop_new(NULL, NULL);
    int pipes[2][2];
    struct pair pairs[2];
    ready_count = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        assert_int_equal(write(pipes[i][1], "x", 1), 1);
        pairs[i] = (struct pair){{.fd = pipes[i][0], .ready = remove_other}, &pairs[1 - i]};
        assert_true(loop_watch_set(loop, &pairs[i].watch, EPOLLIN));
    }
    assert_true(loop_run(loop));
    assert_int_equal(ready_count, 1);
    for (int i = 0; i < 2; i++) {
        loop_watch_remove(loop, &pairs[i].watch);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    loop_free(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_come_in_order_and_cleared_ones_never),
        cmocka_unit_test(test_a_removed_watch_is_not_called_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
