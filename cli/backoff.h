/* backoff.h - how long to wait before a process that died is started again: 100 ms, doubled with each death that
 * follows soon, 5 s at most. */
#ifndef TERMINALS_CLI_BACKOFF_H
#define TERMINALS_CLI_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS   100
#define BACKOFF_LONGEST_MS 5000
#define BACKOFF_HEALTHY_MS 10000 /* who lived that long starts afresh */

struct backoff {
    int64_t delay_ms; /* the last one; 0: none yet */
};

/* The pause after a life of `lived_ms`. */
int64_t backoff_next(struct backoff *backoff, int64_t lived_ms);

#endif
