#include "cli/reap.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/ipc_client.h"
#include "common/settings.h"

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
    printf("checked=%lld stopped=%lld kept=%lld\n", (long long)json_get_int(answer, "checked", 0),
           (long long)json_get_int(answer, "stopped", 0), (long long)json_get_int(answer, "kept", 0));
    return true;
}

int reap(int argc, char **argv) {
    struct error err = {0};
    struct settings settings = {0};
    if (argc > 1) {
        fprintf(stderr, "terminals reap: unknown argument `%s`\n\nusage: terminals reap\n", argv[1]);
        return 2;
    }
    bool done = settings_load(&settings, NULL, &err);
    if (done) {
        done = sweep(&settings, &err);
        settings_free(&settings);
    }
    if (!done) {
        fprintf(stderr, "terminals reap: %s\n", err.message);
    }
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
