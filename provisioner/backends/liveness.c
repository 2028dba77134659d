#include "provisioner/backends/liveness.h"

#include <stdlib.h>

#include "common/log.h"

#define CHECK_MS 2000 /* for a check's probe: somebody waits */
#define WATCH_MS 5000 /* for each probe after that */

struct waiting_check {
    void (*checked)(void *argument, bool alive);
    void *argument;
    struct waiting_check *next;
};

/* --- who waits ---------------------------------------------------------------------------------------------------- */

static bool add_check(struct liveness *liveness, void (*checked)(void *argument, bool alive), void *argument) {
    struct waiting_check *check = malloc(sizeof *check);
    if (check == NULL) {
        return false;
    }
    *check = (struct waiting_check){checked, argument, liveness->checks};
    liveness->checks = check;
    return true;
}

void liveness_answer(struct liveness *liveness, bool alive) {
    struct waiting_check *checks = liveness->checks;
    liveness->checks = NULL;
    while (checks != NULL) {
        struct waiting_check *check = checks;
        checks = check->next;
        check->checked(check->argument, alive);
        free(check);
    }
}

void liveness_cancel(struct liveness *liveness) {
    health_probe_cancel(liveness->probe);
    liveness->probe = NULL;
}

void liveness_drop(struct liveness *liveness) {
    liveness_cancel(liveness);
    while (liveness->checks != NULL) {
        struct waiting_check *check = liveness->checks;
        liveness->checks = check->next;
        free(check);
    }
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* Takes in what a probe has said. False: that is the end. */
static bool hear(struct liveness *liveness, const struct error *err, bool is_refused) {
    const char *name = liveness->kind->name(liveness->instance);
    int before_ms = liveness->silent_ms;
    if (err == NULL) {
        liveness->silent_ms = 0;
        if (before_ms > 0) {
            log_info(NULL, "instance `%s` answers again", name);
        }
        return true;
    }
    if (err->code == ERROR_CAPACITY) {
        return true; /* we could not ask, which says nothing of it */
    }
    liveness->silent_ms = before_ms + (before_ms == 0 ? CHECK_MS : WATCH_MS);
    if (is_refused || liveness->silent_ms >= UNRESPONSIVE_MS) {
        return false;
    }
    if (before_ms == 0) {
        log_warning(NULL, "instance `%s` runs, but %s", name, err->message);
    }
    return true;
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct liveness *liveness = argument;
    liveness->probe = NULL;
    if (!hear(liveness, err, is_refused)) {
        liveness->kind->end(liveness->instance);
        return;
    }
    bool alive = liveness->silent_ms == 0;
    if (!alive) {
        liveness_watch(liveness, liveness->silent_ms);
    }
    liveness_answer(liveness, alive);
}

static bool ask(struct liveness *liveness, int timeout_ms) {
    if (liveness->probe == NULL) {
        liveness->probe = liveness->kind->probe(liveness->instance, timeout_ms, on_probed, liveness);
    }
    return liveness->probe != NULL;
}

void liveness_watch(struct liveness *liveness, int silent_ms) {
    /* We cannot look: the next check begins anew. */
    liveness->silent_ms = ask(liveness, WATCH_MS) ? silent_ms : 0;
}

void liveness_check(struct liveness *liveness, void (*checked)(void *argument, bool alive), void *argument) {
    if (liveness->silent_ms > 0) {
        checked(argument, false); /* it is being asked on */
    } else if (!ask(liveness, CHECK_MS) || !add_check(liveness, checked, argument)) {
        checked(argument, true); /* we cannot look: no reason to give up what was fine a moment ago */
    }
}
