#include "gate/pipe_pool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define IDLE_MAX 64

struct pipe_pool {
    struct pipe_pair *idle[IDLE_MAX];
    size_t idle_count;
};

struct pipe_pool *pipe_pool_new(void) {
    return calloc(1, sizeof(struct pipe_pool));
}

static void destroy(struct pipe_pair *pipe) {
    close(pipe->read_fd);
    close(pipe->write_fd);
    free(pipe);
}

void pipe_pool_free(struct pipe_pool *pool) {
    if (pool == NULL) {
        return;
    }
    while (pool->idle_count > 0) {
        destroy(pool->idle[--pool->idle_count]);
    }
    free(pool);
}

struct pipe_pair *pipe_pool_borrow(struct pipe_pool *pool) {
    if (pool->idle_count > 0) {
        return pool->idle[--pool->idle_count];
    }
    struct pipe_pair *pipe = malloc(sizeof *pipe);
    int fds[2];
    if (pipe == NULL || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(pipe);
        return NULL;
    }
    *pipe = (struct pipe_pair){.read_fd = fds[0], .write_fd = fds[1]};
    return pipe;
}

void pipe_pool_return(struct pipe_pool *pool, struct pipe_pair *pipe, bool is_empty) {
    if (is_empty && pool->idle_count < IDLE_MAX) {
        pool->idle[pool->idle_count++] = pipe;
    } else {
        destroy(pipe);
    }
}
