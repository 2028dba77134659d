#include "cli/reap.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command_line.h"
#include "cli/provisioner_program.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/settings.h"

#define INTERVAL_MAX 86400

/* A sweep stops instances one beside the other, each within the limit; twice that is long enough for all. */
static int patience_ms(const struct settings *settings) {
    int64_t ms = settings->idle_cleanup_timeout_seconds * 2 * 1000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static bool sweep(const struct settings *settings, struct error *err) {
    cleanup_free char *path = provisioner_socket_path(settings, err);
    cleanup_json struct json_object *answer =
        path == NULL ? NULL : provisioner_ask(path, ipc_request("reap"), patience_ms(settings), err);
    if (answer == NULL) {
        return false;
    }
    printf("checked=%lld stopped=%lld kept=%lld reset=%lld\n", (long long)json_get_int(answer, "checked", 0),
           (long long)json_get_int(answer, "stopped", 0), (long long)json_get_int(answer, "kept", 0),
           (long long)json_get_int(answer, "reset", 0));
    return true;
}

static const char usage[] = "usage: terminals reap [--every SECONDS]\n";

static bool sweep_and_say(const struct settings *settings) {
    struct error err = {0};
    bool done = sweep(settings, &err);
    if (!done) {
        fprintf(stderr, "terminals reap: %s\n", err.message);
    }
    fflush(stdout);
    return done;
}

/* One sweep after the other, `seconds` from the end of one to the start of the next. A sweep that cannot be made is
 * said, and the next one is another try: the provisioner may be about to come back. */
static void sweep_for_ever(const struct settings *settings, long seconds) {
    for (;;) {
        if (seconds == 0) { /* as TERMINALS_CLEANUP_INTERVAL_SECONDS=0 says: somebody else has idle instances stopped */
            pause();
            continue;
        }
        struct timespec left = {.tv_sec = seconds};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) {
        }
        sweep_and_say(settings);
    }
}

int reap(int argc, char **argv) {
    struct error err = {0};
    struct settings settings = {0};
    long seconds = 0;
    const char *every = NULL;
    const struct command_argument arguments[] = {{"--every", .value = &every}, {0}};
    int status = EXIT_SUCCESS;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    if (every != NULL && !command_line_seconds(every, 0, INTERVAL_MAX, &seconds, &err)) {
        fprintf(stderr, "terminals reap: %s\n\n", err.message);
        return command_line_refuse(usage);
    }
    if (!settings_load(&settings, NULL, &err)) {
        fprintf(stderr, "terminals reap: %s\n", err.message);
        return EXIT_FAILURE;
    }
    if (every != NULL) {
        sweep_for_ever(&settings, seconds);
    }
    bool done = sweep_and_say(&settings);
    settings_free(&settings);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
