/* The queue of the operator: each name once, never two at a time of one, pauses that grow, and nothing while it is
 * closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "provisioner/operator/work_queue.h"

static struct {
    struct event_base *base;
    struct work_queue *queue;
    struct work *running[64];
    int count; /* of those that run */
    int runs;
    bool fails;
} world;

static void on_run(struct work *work) {
    world.runs++;
    if (world.fails) {
        work_failed(work);
    } else {
        world.running[world.count++] = work;
    }
}

static int make(void **state) {
    (void)state;
    memset(&world, 0, sizeof world);
    world.base = event_base_new();
    world.queue = work_queue_open(world.base, on_run, &world);
    assert_non_null(world.queue);
    work_queue_set_open(world.queue, true);
    return 0;
}

static int end(void **state) {
    (void)state;
    work_queue_close(world.queue);
    event_base_free(world.base);
    return 0;
}

static void turn(void) {
    event_base_loop(world.base, EVLOOP_NONBLOCK);
    event_base_loop(world.base, EVLOOP_NONBLOCK);
}

static void test_a_name_is_run_once_however_often_it_is_added(void **state) {
    (void)state;
    work_queue_add(world.queue, "a", NULL);
    work_queue_add(world.queue, "a", NULL);
    turn();
    assert_int_equal(world.runs, 1);
    assert_string_equal(world.running[0]->name, "a");
    assert_ptr_equal(world.running[0]->owner, &world);
}

static void test_what_is_added_while_it_runs_is_run_again_afterwards(void **state) {
    (void)state;
    work_queue_add(world.queue, "a", NULL);
    turn();
    work_queue_add(world.queue, "a", NULL);
    turn();
    assert_int_equal(world.runs, 1);
    work_done(world.running[0], -1);
    turn();
    assert_int_equal(world.runs, 2);
}

static void test_only_so_many_run_at_once(void **state) {
    char name[16];
    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "n%d", i);
        work_queue_add(world.queue, name, NULL);
    }
    turn();
    assert_int_equal(world.runs, 16);
    work_over(world.running[0]);
    turn();
    assert_int_equal(world.runs, 17);
}

static void test_what_fails_has_pauses_that_grow_and_a_new_task_has_none(void **state) {
    int64_t began_ms = clock_monotonic_ms();
    (void)state;
    world.fails = true;
    work_queue_add(world.queue, "a", "one");
    while (world.runs < 4) {
        event_base_loop(world.base, EVLOOP_ONCE);
        work_queue_add(world.queue, "a", NULL); /* an event that changes nothing does not shorten the pause */
    }
    assert_true(clock_monotonic_ms() - began_ms >= 50 + 100 + 200);
    work_queue_add(world.queue, "a", "one");
    turn();
    assert_int_equal(world.runs, 4);
    work_queue_add(world.queue, "a", "another");
    turn();
    assert_int_equal(world.runs, 5);
}

static void test_nothing_runs_while_it_is_closed_and_what_ran_is_run_anew(void **state) {
    (void)state;
    work_queue_add(world.queue, "a", NULL);
    turn();
    work_queue_set_open(world.queue, false);
    work_queue_add(world.queue, "b", NULL);
    turn();
    assert_int_equal(world.runs, 1);
    work_queue_set_open(world.queue, true);
    turn();
    assert_int_equal(world.runs, 3);
}

static void test_what_is_done_is_looked_at_when_it_said(void **state) {
    (void)state;
    work_queue_add(world.queue, "a", NULL);
    turn();
    work_done(world.running[0], 20);
    while (world.runs < 2) {
        event_base_loop(world.base, EVLOOP_ONCE);
    }
    assert_ptr_equal(world.running[0], world.running[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_name_is_run_once_however_often_it_is_added, make, end),
        cmocka_unit_test_setup_teardown(test_what_is_added_while_it_runs_is_run_again_afterwards, make, end),
        cmocka_unit_test_setup_teardown(test_only_so_many_run_at_once, make, end),
        cmocka_unit_test_setup_teardown(test_what_fails_has_pauses_that_grow_and_a_new_task_has_none, make, end),
        cmocka_unit_test_setup_teardown(test_nothing_runs_while_it_is_closed_and_what_ran_is_run_anew, make, end),
        cmocka_unit_test_setup_teardown(test_what_is_done_is_looked_at_when_it_said, make, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
