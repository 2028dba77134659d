#include "provisioner/instance_states.h"

#include <stddef.h>
#include <string.h>

static const struct {
    enum instance_state from;
    enum instance_event event;
    enum instance_state to;
} transitions[] = {
    {INSTANCE_STOPPED, INSTANCE_START, INSTANCE_PROVISIONING},
    {INSTANCE_ERROR, INSTANCE_START, INSTANCE_PROVISIONING},
    {INSTANCE_PROVISIONING, INSTANCE_READY, INSTANCE_RUNNING},
    {INSTANCE_PROVISIONING, INSTANCE_FAILED, INSTANCE_ERROR},
    {INSTANCE_PROVISIONING, INSTANCE_STOP, INSTANCE_STOPPING},
    {INSTANCE_PROVISIONING, INSTANCE_ENDED, INSTANCE_STOPPED}, /* it never left the queue, or was not adopted */
    {INSTANCE_RUNNING, INSTANCE_READY, INSTANCE_RUNNING},      /* adopted from a predecessor */
    {INSTANCE_RUNNING, INSTANCE_STOP, INSTANCE_STOPPING},
    {INSTANCE_RUNNING, INSTANCE_ENDED, INSTANCE_STOPPED},
    {INSTANCE_STOPPING, INSTANCE_STOP, INSTANCE_STOPPING},
    {INSTANCE_STOPPING, INSTANCE_FAILED, INSTANCE_ERROR}, /* a start that took too long is abandoned */
    {INSTANCE_STOPPING, INSTANCE_ENDED, INSTANCE_STOPPED},
    {INSTANCE_ERROR, INSTANCE_ENDED, INSTANCE_STOPPED}, /* somebody asked to stop what is not there */
};

static const char *const state_names[INSTANCE_STATE_COUNT] = {
    [INSTANCE_STOPPED] = "stopped", [INSTANCE_PROVISIONING] = "provisioning",
    [INSTANCE_RUNNING] = "running", [INSTANCE_STOPPING] = "stopping",
    [INSTANCE_ERROR] = "error",
};

static const char *const event_names[INSTANCE_EVENT_COUNT] = {
    [INSTANCE_START] = "start", [INSTANCE_READY] = "ready", [INSTANCE_FAILED] = "failed",
    [INSTANCE_STOP] = "stop",   [INSTANCE_ENDED] = "ended",
};

bool instance_next_state(enum instance_state from, enum instance_event event, enum instance_state *to) {
    for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++) {
        if (transitions[i].from == from && transitions[i].event == event) {
            *to = transitions[i].to;
            return true;
        }
    }
    return false;
}

const char *instance_state_name(enum instance_state state) {
    return state_names[state];
}

bool instance_state_from_name(const char *name, enum instance_state *state) {
    for (int i = 0; i < INSTANCE_STATE_COUNT; i++) {
        if (name != NULL && strcmp(state_names[i], name) == 0) {
            *state = (enum instance_state)i;
            return true;
        }
    }
    return false;
}

const char *instance_event_name(enum instance_event event) {
    return event_names[event];
}
