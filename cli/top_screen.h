/* top_screen.h - the terminal that `terminals top` draws on: its size, single keys, and putting all back in the end. */
#ifndef TERMINALS_CLI_TOP_SCREEN_H
#define TERMINALS_CLI_TOP_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"

/* Takes over the terminal of standard input and output, until top_screen_close(); SIGINT, SIGTERM and SIGHUP end the
 * next wait. One at a time, since signals are a process's. */
bool top_screen_open(struct error *err);
void top_screen_close(void);

/* Its size; 80 by 24 where it is not known. */
void top_screen_size(size_t *columns, size_t *rows);

/* Draws the lines in place of those that are there. False: the terminal is gone. */
bool top_screen_draw(const struct buffer *lines);

/* Waits for a key, a new size, a signal to end, or `timeout_ms`: the key, 0 for a timeout or a new size, -1 for the
 * end. */
int top_screen_wait(int timeout_ms);

#endif
