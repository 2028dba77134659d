#include "provisioner/backends/silence.h"

#include <stddef.h>

#include "common/log.h"

enum silence silence_after(int *silent_ms, const struct error *err, bool is_refused, const char *name) {
    int before_ms = *silent_ms;
    if (err == NULL) {
        *silent_ms = 0;
        if (before_ms > 0) {
            log_info(NULL, "instance `%s` answers again", name);
        }
        return SILENCE_NONE;
    }
    if (err->code == ERROR_CAPACITY) {
        return before_ms == 0 ? SILENCE_NONE : SILENCE_BORNE; /* we could not ask */
    }
    *silent_ms = before_ms + (before_ms == 0 ? SILENCE_CHECK_MS : SILENCE_WATCH_MS);
    if (is_refused || *silent_ms >= UNRESPONSIVE_MS) {
        return SILENCE_TOO_LONG;
    }
    if (before_ms == 0) {
        log_warning(NULL, "instance `%s` runs, but %s", name, err->message);
    }
    return SILENCE_BORNE;
}
