#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisioner/instance_states.h"

#define NONE (-1)

/* The whole table once more, by rows of states and columns of events, so that no change goes unnoticed. */
static const int expected[INSTANCE_STATE_COUNT][INSTANCE_EVENT_COUNT] = {
    /*                         start                   ready              failed           stop             ended */
    [INSTANCE_STOPPED] = {INSTANCE_PROVISIONING, NONE, NONE, NONE, NONE},
    [INSTANCE_PROVISIONING] = {NONE, INSTANCE_RUNNING, INSTANCE_ERROR, INSTANCE_STOPPING, INSTANCE_STOPPED},
    [INSTANCE_RUNNING] = {NONE, INSTANCE_RUNNING, NONE, INSTANCE_STOPPING, INSTANCE_STOPPED},
    [INSTANCE_STOPPING] = {NONE, NONE, INSTANCE_ERROR, INSTANCE_STOPPING, INSTANCE_STOPPED},
    [INSTANCE_ERROR] = {INSTANCE_PROVISIONING, NONE, NONE, NONE, INSTANCE_STOPPED},
};

static void test_only_the_transitions_of_the_drawing_happen(void **state) {
    (void)state;
    for (int from = 0; from < INSTANCE_STATE_COUNT; from++) {
        for (int event = 0; event < INSTANCE_EVENT_COUNT; event++) {
            enum instance_state to = INSTANCE_STATE_COUNT;
            bool happens = instance_next_state((enum instance_state)from, (enum instance_event)event, &to);
            int wanted = expected[from][event];
            if (happens != (wanted != NONE) || (happens && (int)to != wanted)) {
                fail_msg("%s --%s--> %s", instance_state_name((enum instance_state)from),
                         instance_event_name((enum instance_event)event),
                         happens ? instance_state_name(to) : "refused");
            }
            if (!happens) {
                assert_int_equal(to, INSTANCE_STATE_COUNT);
            }
        }
    }
}

static void test_names_are_read_back(void **state) {
    (void)state;
    enum instance_state read = INSTANCE_STATE_COUNT;
    for (int i = 0; i < INSTANCE_STATE_COUNT; i++) {
        assert_true(instance_state_from_name(instance_state_name((enum instance_state)i), &read));
        assert_int_equal(read, i);
    }
    assert_false(instance_state_from_name("Running", &read));
    assert_false(instance_state_from_name("", &read));
    assert_false(instance_state_from_name(NULL, &read));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_transitions_of_the_drawing_happen),
        cmocka_unit_test(test_names_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
