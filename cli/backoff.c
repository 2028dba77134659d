#include "cli/backoff.h"

int64_t backoff_next(struct backoff *backoff, int64_t lived_ms) {
    if (backoff->delay_ms == 0 || lived_ms >= BACKOFF_HEALTHY_MS) {
        backoff->delay_ms = BACKOFF_FIRST_MS;
    } else if (backoff->delay_ms > BACKOFF_LONGEST_MS / 2) {
        backoff->delay_ms = BACKOFF_LONGEST_MS;
    } else {
        backoff->delay_ms *= 2;
    }
    return backoff->delay_ms;
}
