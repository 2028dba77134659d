/* instance_states.h - the states of an instance and how it gets from one to the other.
 *
 *                start             ready
 *   stopped ───────────> provisioning ───────> running
 *   error   ───────────>      │    │              │ │
 *      ^          failed      │    │ stop    stop │ │ ended (it died, or was not adopted)
 *      ├──────────────────────┘    v              v │
 *      │          failed         stopping <───────┘ └──> stopped
 *      └─────────────────────────────┴──────────────────> stopped
 *                                      ended
 *
 * The table in instance_states.c is this drawing, and the only place that decides. What belongs to a state but need not
 * survive us (draining, queued, being adopted) is a flag of struct tenant. Thread-safe. */
#ifndef TERMINALS_PROVISIONER_INSTANCE_STATES_H
#define TERMINALS_PROVISIONER_INSTANCE_STATES_H

#include <stdbool.h>

enum instance_state {
    INSTANCE_STOPPED,
    INSTANCE_PROVISIONING,
    INSTANCE_RUNNING,
    INSTANCE_STOPPING,
    INSTANCE_ERROR,
    INSTANCE_STATE_COUNT,
};

enum instance_event {
    INSTANCE_START,  /* somebody wants it */
    INSTANCE_READY,  /* it answers */
    INSTANCE_FAILED, /* the start came to nothing, and nothing of it is left */
    INSTANCE_STOP,   /* it shall end */
    INSTANCE_ENDED,  /* nothing of it runs any more */
    INSTANCE_EVENT_COUNT,
};

/* False if `event` cannot happen in `from`; *to is then untouched. */
bool instance_next_state(enum instance_state from, enum instance_event event, enum instance_state *to);

/* The name in the database and the API ("provisioning"), and back. */
const char *instance_state_name(enum instance_state state);
bool instance_state_from_name(const char *name, enum instance_state *state);

/* For the log. */
const char *instance_event_name(enum instance_event event);

#endif
