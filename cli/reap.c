#include "cli/reap.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/ipc_client.h"
#include "common/settings.h"

#define INTERVAL_MAX 86400

/* A sweep stops instances one beside the other, each within the limit; twice that is long enough for all. */
static int patience_ms(const struct settings *settings) {
    int64_t ms = settings->idle_cleanup_timeout_seconds * 2 * 1000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static bool sweep(const struct settings *settings, struct error *err) {
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/provisioner.sock", settings->run_dir) < 0) {
        path = NULL;
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    struct ipc_client *client = ipc_client_new(path);
    struct json_object *request = ipc_request("reap");
    if (client == NULL || request == NULL) {
        ipc_client_free(client);
        json_object_put(request);
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    cleanup_json struct json_object *answer = ipc_client_call(client, request, patience_ms(settings), err);
    ipc_client_free(client);
    if (answer == NULL || !ipc_answer_ok(answer, err)) {
        return false;
    }
    printf("checked=%lld stopped=%lld kept=%lld reset=%lld\n", (long long)json_get_int(answer, "checked", 0),
           (long long)json_get_int(answer, "stopped", 0), (long long)json_get_int(answer, "kept", 0),
           (long long)json_get_int(answer, "reset", 0));
    return true;
}

static const char usage[] = "usage: terminals reap [--every SECONDS]\n";

static bool parse_interval(const char *text, long *seconds) {
    char *end = NULL;
    errno = 0;
    *seconds = strtol(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *seconds <= INTERVAL_MAX;
}

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
    bool is_loop = argc == 3 && strcmp(argv[1], "--every") == 0;
    if (argc > 1 && !is_loop) {
        fprintf(stderr, "terminals reap: unknown argument `%s`\n\n%s", argv[1], usage);
        return 2;
    }
    if (is_loop && !parse_interval(argv[2], &seconds)) {
        fprintf(stderr, "terminals reap: `%s` is not a number of seconds from 0 to %d\n\n%s", argv[2], INTERVAL_MAX,
                usage);
        return 2;
    }
    if (!settings_load(&settings, NULL, &err)) {
        fprintf(stderr, "terminals reap: %s\n", err.message);
        return EXIT_FAILURE;
    }
    if (is_loop) {
        sweep_for_ever(&settings, seconds);
    }
    bool done = sweep_and_say(&settings);
    settings_free(&settings);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
