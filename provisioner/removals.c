#include "provisioner/removals.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/remove_tree.h"

/* One folder. Its thread owns `err` and `ok` until it has written its byte to the pipe. */
struct removal {
    struct removals *removals;
    char name[REMOVALS_NAME_MAX_BYTES + 1];
    bool is_running;
    pthread_t thread;
    int pipe[2];
    struct event *event;
    struct error err;
    bool ok;
    void (*done)(void *argument, const struct error *err);
    void *argument;
    struct removal *prev, *next;
};

struct removals {
    char *trash;
    struct event_base *base;
    struct removal *list; /* those that run, then those that wait */
    size_t running;
    struct event *step; /* starts those that can */
    atomic_bool cancelled;
};

static void removal_free(struct removal *removal) {
    DL_DELETE(removal->removals->list, removal);
    if (removal->event != NULL) {
        event_free(removal->event);
    }
    for (int i = 0; i < 2; i++) {
        if (removal->pipe[i] >= 0) {
            close(removal->pipe[i]);
        }
    }
    free(removal);
}

/* --- on the thread ------------------------------------------------------------------------------------------------ */

static bool remove_folder(struct removal *removal, struct error *err) {
    const struct removals *removals = removal->removals;
    cleanup_close int trash = open(removals->trash, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_close int fd =
        trash < 0 ? -1 : openat(trash, removal->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open `%s/%s`", removals->trash, removal->name);
    }
    if (!remove_tree_contents(fd, &removals->cancelled, err)) {
        return error_prefix(err, "empty `%s/%s`", removals->trash, removal->name);
    }
    return unlinkat(trash, removal->name, AT_REMOVEDIR) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, "remove `%s/%s`", removals->trash, removal->name);
}

static void *removal_thread(void *argument) {
    struct removal *removal = argument;
    removal->ok = remove_folder(removal, &removal->err);
    ssize_t written;
    do {
        written = write(removal->pipe[1], "", 1);
    } while (written < 0 && errno == EINTR);
    return NULL;
}

/* --- on the loop -------------------------------------------------------------------------------------------------- */

static void finish(struct removal *removal, const struct error *err) {
    void (*done)(void *, const struct error *) = removal->done;
    void *argument = removal->argument;
    removal_free(removal);
    done(argument, err);
}

static void wake(struct removals *removals) {
    event_active(removals->step, EV_TIMEOUT, 0);
}

static void on_removed(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct removal *removal = argument;
    struct removals *removals = removal->removals;
    pthread_join(removal->thread, NULL);
    removals->running--;
    wake(removals);
    struct error err = removal->err;
    finish(removal, removal->ok ? NULL : &err);
}

static bool start(struct removal *removal, struct error *err) {
    if (pipe2(removal->pipe, O_CLOEXEC) < 0) {
        removal->pipe[0] = removal->pipe[1] = -1;
        return error_set_errno(err, ERROR_CAPACITY, "open a pipe");
    }
    removal->event = event_new(removal->removals->base, removal->pipe[0], EV_READ, on_removed, removal);
    if (removal->event == NULL || event_add(removal->event, NULL) < 0) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    int problem = pthread_create(&removal->thread, NULL, removal_thread, removal);
    if (problem != 0) {
        errno = problem;
        return error_set_errno(err, ERROR_CAPACITY, "start a thread");
    }
    removal->is_running = true;
    removal->removals->running++;
    return true;
}

static struct removal *first_waiting(const struct removals *removals) {
    struct removal *removal = removals->list;
    while (removal != NULL && removal->is_running) {
        removal = removal->next;
    }
    return removal;
}

static void on_step(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct removals *removals = argument;
    struct removal *removal = NULL;
    while (removals->running < REMOVALS_AT_ONCE && (removal = first_waiting(removals)) != NULL) {
        struct error err;
        if (!start(removal, &err)) {
            finish(removal, &err);
        }
    }
}

bool removals_add(struct removals *removals, const char *name, void (*done)(void *argument, const struct error *err),
                  void *argument, struct error *err) {
    struct removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    *removal = (struct removal){.removals = removals, .pipe = {-1, -1}, .done = done, .argument = argument};
    strncpy(removal->name, name, sizeof removal->name - 1);
    DL_APPEND(removals->list, removal);
    wake(removals);
    return true;
}

bool removals_has(const struct removals *removals, const char *name) {
    const struct removal *removal = removals->list;
    while (removal != NULL && strcmp(removal->name, name) != 0) {
        removal = removal->next;
    }
    return removal != NULL;
}

struct removals *removals_open(const char *trash, struct event_base *base) {
    struct removals *removals = calloc(1, sizeof *removals);
    if (removals == NULL) {
        return NULL;
    }
    removals->base = base;
    removals->trash = strdup(trash);
    removals->step = event_new(base, -1, 0, on_step, removals);
    if (removals->trash == NULL || removals->step == NULL) {
        removals_close(removals);
        return NULL;
    }
    return removals;
}

void removals_close(struct removals *removals) {
    if (removals == NULL) {
        return;
    }
    atomic_store(&removals->cancelled, true);
    while (removals->list != NULL) {
        if (removals->list->is_running) {
            pthread_join(removals->list->thread, NULL);
        }
        removal_free(removals->list);
    }
    if (removals->step != NULL) {
        event_free(removals->step);
    }
    free(removals->trash);
    free(removals);
}
