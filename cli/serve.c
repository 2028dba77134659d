#include "cli/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api_key.h"
#include "cli/banner.h"
#include "cli/descendants.h"
#include "cli/executables.h"
#include "cli/flags.h"
#include "cli/folders.h"
#include "cli/health.h"
#include "cli/run_folder.h"
#include "cli/supervisor.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"

#define LEFT_OVER_MS 5000 /* for what does not end by itself at the very end */

static const char usage[] = "usage: terminals serve [--host H] [--port P] [--api-key K] [--backend B]\n"
                            "\n"
                            "Starts everything and keeps it running until Ctrl-C. The flags win over the environment\n"
                            "(TERMINALS_HOST, …) and over `.env` in the working directory.\n";

struct serve {
    struct settings settings;
    char *key_file; /* of a key made by us, else NULL */
    struct executables executables;
    struct run_folder run_folder;
    struct event_base *base;
    struct supervisor *supervisor;
    struct health *health;
};

static void on_ready(void *argument) {
    struct serve *serve = argument;
    cleanup_buffer struct buffer text = {0};
    supervisor_is_ready(serve->supervisor);
    if (banner_write(&text, &serve->settings, serve->key_file, isatty(STDOUT_FILENO) == 1)) {
        fwrite(text.data, 1, text.length, stdout);
        fflush(stdout);
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.length);
    }
    log_info(NULL, "ready on %s port %d", serve->settings.host, (int)serve->settings.port);
}

static bool make_key_unless_configured(struct serve *serve, struct error *err) {
    const struct settings *settings = &serve->settings;
    if (settings->open || settings->api_key != NULL || settings->open_webui_url != NULL ||
        settings->jwt_secret != NULL) {
        return true;
    }
    cleanup_free char *path = api_key_path(&serve->settings);
    if (path == NULL) {
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    serve->settings.api_key = api_key_load_or_create(path, err);
    serve->key_file = steal_pointer(&path);
    return serve->settings.api_key != NULL;
}

/* A process of ours names a map and a socket by this path, HAProxy too: it must be one and the same text. */
static bool make_run_dir_absolute(struct serve *serve, struct error *err) {
    char *path = strdup(serve->run_folder.path);
    if (path == NULL) {
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    free(serve->settings.run_dir);
    serve->settings.run_dir = path;
    return true;
}

static bool run(struct serve *serve, struct error *err) {
    const struct child_plan plan = {&serve->settings, &serve->executables, &serve->run_folder};
    serve->supervisor = supervisor_start(serve->base, &plan, err);
    if (serve->supervisor == NULL) {
        return false;
    }
    serve->health = health_watch(serve->base, &serve->settings, on_ready, serve, err);
    bool watched = serve->health != NULL;
    if (!watched) {
        raise(SIGTERM); /* ends in order what was started */
    }
    event_base_dispatch(serve->base);
    return watched && supervisor_ended_well(serve->supervisor, err);
}

/* Everything between settings and end. What was opened is closed by close_all(). */
static bool serve_all(struct serve *serve, struct error *err) {
    settings_configure_log(&serve->settings, "serve");
    signal(SIGPIPE, SIG_IGN);
    if (!executables_find(&serve->executables, err) || !run_folder_open(&serve->run_folder, &serve->settings, err)) {
        return false;
    }
    if (!make_run_dir_absolute(serve, err) || !folders_make(serve->settings.data_dir, err) ||
        !make_key_unless_configured(serve, err) || !descendants_adopt(err)) {
        return false;
    }
    serve->base = event_base_new();
    if (serve->base == NULL) {
        return error_set(err, ERROR_INTERNAL, "no event loop");
    }
    bool ended_well = run(serve, err);
    int killed = descendants_kill_all(LEFT_OVER_MS);
    if (killed > 0) {
        log_warning(NULL, "killed %d processes that were left", killed);
    }
    return ended_well;
}

static void close_all(struct serve *serve) {
    health_free(serve->health);
    supervisor_free(serve->supervisor);
    if (serve->base != NULL) {
        event_base_free(serve->base);
    }
    if (serve->run_folder.path != NULL) {
        run_folder_close(&serve->run_folder);
    }
    executables_free(&serve->executables);
    free(serve->key_file);
    settings_free(&serve->settings);
}

int serve(int argc, char **argv) {
    struct error err = {0};
    struct flags flags;
    struct serve serve = {0};
    if (!flags_parse(&flags, argc, argv, &err)) {
        fprintf(stderr, "terminals serve: %s\n\n%s", err.message, usage);
        return 2;
    }
    if (flags.help) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (!settings_load(&serve.settings, flags.overrides, &err)) {
        fprintf(stderr, "terminals serve: %s\n", err.message);
        return EXIT_FAILURE;
    }
    bool ended_well = serve_all(&serve, &err);
    close_all(&serve);
    if (!ended_well) {
        fprintf(stderr, "terminals serve: %s\n", err.message);
    }
    return ended_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
