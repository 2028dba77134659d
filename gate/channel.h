/* channel.h - one direction of a relay: moves bytes from a socket to another with splice(2), as fast as the receiver
 * takes them and no faster. Where no pipe can be had (no descriptors left) it copies through a small buffer instead. */
#ifndef TERMINALS_GATE_CHANNEL_H
#define TERMINALS_GATE_CHANNEL_H

#include <stdint.h>

#include "gate/endpoint.h"
#include "gate/pipe_pool.h"

#define CHANNEL_UNLIMITED UINT64_MAX

/* `struct channel c = {.allowance = …};` is a channel before its first byte. */
struct channel {
    struct pipe_pair *pipe; /* lent while `held` > 0 */
    size_t held;            /* bytes taken from the source that the target has not got yet */
    uint64_t allowance;     /* how many bytes may be taken from the source; CHANNEL_UNLIMITED: all */
    uint64_t moved;         /* bytes the target has got */
    bool source_ended;
};

enum channel_result {
    CHANNEL_WAITS,         /* for the source to be readable or the target to be writable */
    CHANNEL_PAUSED,        /* all that was allowed has been delivered */
    CHANNEL_HAS_MORE,      /* others should have their turn; call again soon */
    CHANNEL_ENDED,         /* the source has ended and the target has got everything */
    CHANNEL_SOURCE_FAILED, /* and the target has got everything that came before */
    CHANNEL_TARGET_FAILED,
};

/* Moves what can be moved without waiting. */
enum channel_result channel_pump(struct channel *channel, struct endpoint *source, struct endpoint *target,
                                 struct pipe_pool *pipes);

/* Gives the pipe back. */
void channel_close(struct channel *channel, struct pipe_pool *pipes);

#endif
