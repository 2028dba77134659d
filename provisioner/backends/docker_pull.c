#include "provisioner/backends/docker_pull.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_PAUSE_MS  5000   /* between two lines in the log */
#define TELL_PAUSE_MS 250    /* between two words to those who wait */
#define SILENT_MAX_MS 300000 /* of a pull that does not hang: a large layer is verified without a word */
#define LAYER_ID_SIZE 80
#define BYTES_PER_MB  1000000

struct layer {
    char id[LAYER_ID_SIZE];
    int64_t current;
    int64_t total;
    UT_hash_handle hh;
};

struct docker_pull_wait {
    struct docker_pull *pull;
    void (*progress)(void *argument, const char *text);
    void (*done)(void *argument, const struct error *err);
    void *argument;
    struct docker_pull_wait *prev, *next;
};

struct docker_pull {
    struct docker_pull **pulls;
    char *image;
    struct docker_call *call;
    struct docker_pull_wait *waiting;
    struct layer *layers;
    char *failure; /* of the last line that told one */
    int64_t began_ms;
    int64_t heard_ms; /* when the engine was asked, or said something, last */
    int64_t logged_ms;
    int64_t told_ms;
    struct docker_pull *prev, *next;
};

static void pull_free(struct docker_pull *pull) {
    struct layer *layer = NULL;
    struct layer *next = NULL;
    DL_DELETE(*pull->pulls, pull);
    docker_call_cancel(pull->call);
    HASH_ITER(hh, pull->layers, layer, next) {
        HASH_DEL(pull->layers, layer);
        free(layer);
    }
    while (pull->waiting != NULL) {
        docker_pull_leave(pull->waiting);
    }
    free(pull->image);
    free(pull->failure);
    free(pull);
}

void docker_pull_leave(struct docker_pull_wait *wait) {
    if (wait != NULL) {
        DL_DELETE(wait->pull->waiting, wait);
        free(wait);
    }
}

void docker_pull_free_all(struct docker_pull **pulls) {
    while (*pulls != NULL) {
        pull_free(*pulls);
    }
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

static void describe(const struct docker_pull *pull, char *text, size_t size) {
    int64_t current = 0;
    int64_t total = 0;
    for (const struct layer *layer = pull->layers; layer != NULL; layer = layer->hh.next) {
        current += layer->current;
        total += layer->total;
    }
    if (total > 0) {
        snprintf(text, size, "pulling image %s: %" PRId64 " of %" PRId64 " MB", pull->image, current / BYTES_PER_MB,
                 (total + BYTES_PER_MB - 1) / BYTES_PER_MB);
    } else {
        snprintf(text, size, "pulling image %s", pull->image);
    }
}

/* Those who wait may leave while they are told. */
static void tell_progress(struct docker_pull *pull) {
    char text[320];
    int64_t now = clock_monotonic_ms();
    describe(pull, text, sizeof text);
    if (now - pull->logged_ms >= LOG_PAUSE_MS) {
        pull->logged_ms = now;
        log_info(NULL, "%s", text);
    }
    if (now - pull->told_ms >= TELL_PAUSE_MS) {
        pull->told_ms = now;
        struct docker_pull_wait *wait = NULL;
        struct docker_pull_wait *next = NULL;
        DL_FOREACH_SAFE(pull->waiting, wait, next) {
            wait->progress(wait->argument, text);
        }
    }
}

static void count_layer(struct docker_pull *pull, const char *id, struct json_object *detail) {
    struct layer *layer = NULL;
    int64_t total = json_get_int(detail, "total", 0);
    if (id == NULL || total <= 0 || strlen(id) >= LAYER_ID_SIZE) {
        return;
    }
    HASH_FIND_STR(pull->layers, id, layer);
    if (layer == NULL) {
        layer = calloc(1, sizeof *layer);
        if (layer == NULL) {
            return; /* the sum is a little wrong */
        }
        snprintf(layer->id, sizeof layer->id, "%s", id);
        HASH_ADD_STR(pull->layers, id, layer);
    }
    layer->total = total;
    layer->current = json_get_int(detail, "current", 0);
}

static void on_line(void *argument, char *line, size_t length) {
    struct docker_pull *pull = argument;
    cleanup_json struct json_object *json = json_parse_object(line, length, NULL);
    const char *failure = json_get_string(json, "error");
    const char *status = json_get_string(json, "status");
    pull->heard_ms = clock_monotonic_ms();
    if (failure != NULL) {
        free(pull->failure);
        pull->failure = strdup(failure);
        return;
    }
    if (status != NULL && strcmp(status, "Downloading") == 0) {
        count_layer(pull, json_get_string(json, "id"), json_get_object(json, "progressDetail"));
    } else if (status != NULL && strcmp(status, "Download complete") == 0) {
        struct layer *layer = NULL;
        const char *id = json_get_string(json, "id");
        if (id != NULL) {
            HASH_FIND_STR(pull->layers, id, layer);
        }
        if (layer != NULL) {
            layer->current = layer->total;
        }
    }
    tell_progress(pull);
}

/* --- a pull ------------------------------------------------------------------------------------------------------- */

static void on_done(void *argument, const struct docker_answer *answer) {
    struct docker_pull *pull = argument;
    struct error err = {0};
    pull->call = NULL;
    if (answer->status != 200) {
        docker_answer_error(answer, &err, "pull image %s", pull->image);
    } else if (pull->failure != NULL) {
        error_set(&err, ERROR_BACKEND, "pull image %s: %s", pull->image, pull->failure);
    }
    if (err.code == ERROR_NONE) {
        log_info(NULL, "image %s pulled in %" PRId64 " ms", pull->image, clock_monotonic_ms() - pull->began_ms);
    } else {
        log_error(NULL, "%s", err.message);
    }
    while (pull->waiting != NULL) {
        struct docker_pull_wait wait = *pull->waiting;
        docker_pull_leave(pull->waiting);
        wait.done(wait.argument, err.code == ERROR_NONE ? NULL : &err);
    }
    pull_free(pull);
}

bool docker_pull_split(const char *image, char **name, char **tag) {
    const char *slash = strrchr(image, '/');
    const char *colon = strchr(slash == NULL ? image : slash, ':');
    bool has_digest = strchr(image, '@') != NULL;
    size_t length = has_digest || colon == NULL ? strlen(image) : (size_t)(colon - image);
    *name = strndup(image, length);
    *tag = strdup(has_digest ? "" : colon == NULL ? "latest" : colon + 1);
    if (*name == NULL || *tag == NULL) {
        free(*name);
        free(*tag);
        return false;
    }
    return true;
}

static struct docker_call *ask(struct docker_pull *pull, struct docker_engine *engine) {
    cleanup_free char *name = NULL;
    cleanup_free char *tag = NULL;
    cleanup_free char *path = NULL;
    if (!docker_pull_split(pull->image, &name, &tag)) {
        name = tag = NULL;
        return NULL;
    }
    cleanup_free char *name_escaped = docker_escape(name);
    cleanup_free char *tag_escaped = docker_escape(tag);
    if (name_escaped == NULL || tag_escaped == NULL ||
        asprintf(&path, "/images/create?fromImage=%s%s%s", name_escaped, tag[0] == '\0' ? "" : "&tag=", tag_escaped) <
            0) {
        path = NULL;
        return NULL;
    }
    const struct docker_request request = {.method = "POST", .path = path, .line = on_line};
    return docker_call_start(engine, &request, on_done, pull);
}

static struct docker_pull *begin(struct docker_pull **pulls, struct docker_engine *engine, const char *image) {
    struct docker_pull *pull = calloc(1, sizeof *pull);
    if (pull == NULL) {
        return NULL;
    }
    pull->pulls = pulls;
    DL_APPEND(*pulls, pull);
    pull->began_ms = pull->logged_ms = pull->heard_ms = clock_monotonic_ms();
    pull->image = strdup(image);
    pull->call = pull->image == NULL ? NULL : ask(pull, engine);
    if (pull->call == NULL) {
        pull_free(pull);
        return NULL;
    }
    log_info(NULL, "pulling image %s", image);
    return pull;
}

static void ask_anew(struct docker_pull *pull, struct docker_engine *engine) {
    log_warning(NULL, "pulling image %s: nothing was heard of it for %" PRId64 " s: it is begun anew", pull->image,
                (clock_monotonic_ms() - pull->heard_ms) / 1000);
    docker_call_cancel(pull->call);
    free(pull->failure);
    pull->failure = NULL;
    pull->call = ask(pull, engine); /* without memory now, perhaps with the next who joins */
    if (pull->call != NULL) {
        pull->heard_ms = clock_monotonic_ms();
    }
}

struct docker_pull_wait *docker_pull_join(struct docker_pull **pulls, struct docker_engine *engine, const char *image,
                                          void (*progress)(void *argument, const char *text),
                                          void (*done)(void *argument, const struct error *err), void *argument) {
    struct docker_pull *pull = NULL;
    DL_FOREACH(*pulls, pull) {
        if (strcmp(pull->image, image) == 0) {
            break;
        }
    }
    if (pull == NULL) {
        pull = begin(pulls, engine, image);
    } else if (clock_monotonic_ms() - pull->heard_ms > SILENT_MAX_MS) {
        ask_anew(pull, engine);
    }
    struct docker_pull_wait *wait = pull == NULL ? NULL : calloc(1, sizeof *wait);
    if (wait != NULL) {
        *wait = (struct docker_pull_wait){.pull = pull, .progress = progress, .done = done, .argument = argument};
        DL_APPEND(pull->waiting, wait);
    }
    return wait;
}
