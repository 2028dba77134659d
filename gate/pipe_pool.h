/* pipe_pool.h - pipes for splice(2), lent only while bytes are in them: ten thousand silent WebSockets share a few. */
#ifndef TERMINALS_GATE_PIPE_POOL_H
#define TERMINALS_GATE_PIPE_POOL_H

#include <stdbool.h>

struct pipe_pair {
    int read_fd;
    int write_fd;
};

struct pipe_pool;

/* NULL: no memory. */
struct pipe_pool *pipe_pool_new(void);
void pipe_pool_free(struct pipe_pool *pool);

/* An empty pipe, or NULL when there is no descriptor or memory for one. */
struct pipe_pair *pipe_pool_borrow(struct pipe_pool *pool);

/* Gives one back: an empty one is kept for others, one that still holds bytes (`is_empty` false) is closed. */
void pipe_pool_return(struct pipe_pool *pool, struct pipe_pair *pipe, bool is_empty);

#endif
