#include "gate/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define STEP_BYTES       (64 * 1024) /* the capacity of a pipe (pipe(7)) */
#define COPY_BYTES       (16 * 1024)
#define ROUNDS_AT_A_TIME 16 /* about 1 MiB, then others have their turn */

enum step { STEP_MOVED, STEP_BLOCKED, STEP_END, STEP_SOURCE_FAILED, STEP_TARGET_FAILED };

static ssize_t splice_once(int from, int to, size_t length) {
    ssize_t moved;
    do {
        moved = splice(from, NULL, to, NULL, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (moved < 0 && errno == EINTR);
    return moved;
}

static void took(struct channel *channel, size_t count) {
    if (channel->allowance != CHANNEL_UNLIMITED) {
        channel->allowance -= count;
    }
}

/* Pipe to target. */
static enum step drain(struct channel *channel, struct endpoint *target, struct pipe_pool *pipes) {
    ssize_t moved = splice_once(channel->pipe->read_fd, target->fd, channel->held);
    if (moved < 0 && errno == EAGAIN) {
        return endpoint_is_full(target) ? STEP_BLOCKED : STEP_TARGET_FAILED;
    }
    if (moved <= 0) {
        return STEP_TARGET_FAILED;
    }
    channel->held -= (size_t)moved;
    channel->moved += (uint64_t)moved;
    if (channel->held == 0) {
        pipe_pool_return(pipes, channel->pipe, true);
        channel->pipe = NULL;
    }
    return STEP_MOVED;
}

/* Source to pipe; the pipe is empty, so EAGAIN can only mean that the source is. */
static enum step fill(struct channel *channel, struct endpoint *source, struct pipe_pool *pipes, size_t limit) {
    ssize_t moved = splice_once(source->fd, channel->pipe->write_fd, limit);
    if (moved > 0) {
        channel->held = (size_t)moved;
        took(channel, (size_t)moved);
        return STEP_MOVED;
    }
    int reason = errno;
    pipe_pool_return(pipes, channel->pipe, true);
    channel->pipe = NULL;
    if (moved == 0) {
        return STEP_END;
    }
    if (reason == EAGAIN) {
        source->readable = false;
        return STEP_BLOCKED;
    }
    return STEP_SOURCE_FAILED;
}

/* Without a pipe: looks at what is there, sends it, and takes from the source exactly what the target took. */
static enum step copy(struct channel *channel, struct endpoint *source, struct endpoint *target, size_t limit) {
    char bytes[COPY_BYTES];
    limit = limit < sizeof bytes ? limit : sizeof bytes;
    ssize_t seen = endpoint_receive(source, bytes, limit, MSG_PEEK);
    if (seen <= 0) {
        return seen == ENDPOINT_NOTHING ? STEP_BLOCKED : seen == ENDPOINT_END ? STEP_END : STEP_SOURCE_FAILED;
    }
    ssize_t sent = endpoint_send(target, bytes, (size_t)seen);
    if (sent < 0) {
        return STEP_TARGET_FAILED;
    }
    if (sent == 0) {
        return STEP_BLOCKED;
    }
    if (endpoint_receive(source, bytes, (size_t)sent, 0) != sent) {
        return STEP_SOURCE_FAILED;
    }
    took(channel, (size_t)sent);
    channel->moved += (uint64_t)sent;
    return STEP_MOVED;
}

static enum step take(struct channel *channel, struct endpoint *source, struct endpoint *target,
                      struct pipe_pool *pipes) {
    size_t limit = channel->allowance < STEP_BYTES ? (size_t)channel->allowance : STEP_BYTES;
    channel->pipe = pipe_pool_borrow(pipes);
    return channel->pipe != NULL ? fill(channel, source, pipes, limit) : copy(channel, source, target, limit);
}

enum channel_result channel_pump(struct channel *channel, struct endpoint *source, struct endpoint *target,
                                 struct pipe_pool *pipes) {
    for (int round = 0; round < 2 * ROUNDS_AT_A_TIME; round++) {
        enum step step;
        if (channel->held > 0) {
            step = target->writable ? drain(channel, target, pipes) : STEP_BLOCKED;
        } else if (channel->source_ended) {
            return CHANNEL_ENDED;
        } else if (channel->allowance == 0) {
            return CHANNEL_PAUSED;
        } else {
            step = source->readable && target->writable ? take(channel, source, target, pipes) : STEP_BLOCKED;
        }
        switch (step) {
        case STEP_MOVED:
            break;
        case STEP_BLOCKED:
            return CHANNEL_WAITS;
        case STEP_END:
            channel->source_ended = true;
            break;
        case STEP_SOURCE_FAILED:
            return CHANNEL_SOURCE_FAILED;
        case STEP_TARGET_FAILED:
            return CHANNEL_TARGET_FAILED;
        }
    }
    return CHANNEL_HAS_MORE;
}

void channel_close(struct channel *channel, struct pipe_pool *pipes) {
    if (channel->pipe != NULL) {
        pipe_pool_return(pipes, channel->pipe, channel->held == 0);
        channel->pipe = NULL;
    }
    channel->held = 0;
}
