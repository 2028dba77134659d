#include "provisioner/home_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/names.h"
#include "provisioner/remove_tree.h"
#include "provisioner/run_folder.h"

#define TRASH             ".trash"
#define LEFTOVERS_AT_ONCE 16 /* threads; the rest is for the next start */

/* A removal under way. The thread owns `err` until it has written its byte to the pipe. */
struct removal {
    struct home_folders *folders;
    char name[64]; /* below .trash */
    pthread_t thread;
    int pipe[2];
    struct event *event;
    struct error err;
    bool ok;
    void (*done)(void *argument, const struct error *err);
    void *argument;
    struct removal *prev, *next;
};

struct home_folders {
    char *path; /* absolute */
    int fd;
    struct event_base *base;
    struct removal *removals;
    atomic_bool cancelled;
};

/* Opens the folder `path` (relative, slashes between components) below `parent`; with `create`, makes what is missing.
 * -1 with errno; ELOOP or ENOTDIR where a component is a link. */
static int open_below(int parent, const char *path, bool create) {
    cleanup_close int current = fcntl(parent, F_DUPFD_CLOEXEC, 0);
    cleanup_free char *copy = strdup(path);
    if (copy == NULL) {
        errno = ENOMEM;
    }
    char *rest = NULL;
    for (char *component = copy == NULL ? NULL : strtok_r(copy, "/", &rest); component != NULL && current >= 0;
         component = strtok_r(NULL, "/", &rest)) {
        if (create && mkdirat(current, component, 0700) < 0 && errno != EEXIST) {
            return -1;
        }
        int next = openat(current, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(current);
        current = next;
    }
    return copy == NULL ? -1 : steal_fd(&current);
}

struct home_folders *home_folders_open(const char *data_dir, struct event_base *base, struct error *err) {
    if (!run_folder_create(data_dir, err)) {
        return NULL;
    }
    struct home_folders *folders = calloc(1, sizeof *folders);
    if (folders == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    folders->base = base;
    folders->fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    folders->path = realpath(data_dir, NULL);
    if (folders->fd < 0 || folders->path == NULL) {
        error_set_errno(err, ERROR_INTERNAL, "open the data folder `%s`", data_dir);
        home_folders_close(folders);
        return NULL;
    }
    return folders;
}

static void removal_free(struct removal *removal) {
    DL_DELETE(removal->folders->removals, removal);
    if (removal->event != NULL) {
        event_free(removal->event);
    }
    close(removal->pipe[0]);
    close(removal->pipe[1]);
    free(removal);
}

void home_folders_close(struct home_folders *folders) {
    if (folders == NULL) {
        return;
    }
    atomic_store(&folders->cancelled, true);
    while (folders->removals != NULL) {
        pthread_join(folders->removals->thread, NULL);
        removal_free(folders->removals);
    }
    if (folders->fd >= 0) {
        close(folders->fd);
    }
    free(folders->path);
    free(folders);
}

static bool relative_path(const char *user_id, const char *policy_id, const char *context_id,
                          char out[NAME_FOLDER_SIZE], struct error *err) {
    return name_home_folder(user_id, policy_id, context_id, out) ||
           error_set(err, ERROR_INTERNAL, "name the home folder of an instance");
}

char *home_folder_create(struct home_folders *folders, const char *user_id, const char *policy_id,
                         const char *context_id, struct error *err) {
    char relative[NAME_FOLDER_SIZE];
    if (!relative_path(user_id, policy_id, context_id, relative, err)) {
        return NULL;
    }
    cleanup_close int fd = open_below(folders->fd, relative, true);
    if (fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "create the home folder `%s/%s`", folders->path, relative);
        return NULL;
    }
    cleanup_buffer struct buffer path = {0};
    buffer_append_format(&path, "%s/%s", folders->path, relative);
    char *result = buffer_take(&path);
    if (result == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return result;
}

/* Empties and removes .trash/<name>. */
static bool remove_from_trash(struct home_folders *folders, int trash, const char *name, struct error *err) {
    cleanup_close int fd = openat(trash, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open `%s/" TRASH "/%s`", folders->path, name);
    }
    if (!remove_tree_contents(fd, &folders->cancelled, err)) {
        return error_prefix(err, "empty `%s/" TRASH "/%s`", folders->path, name);
    }
    return unlinkat(trash, name, AT_REMOVEDIR) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, "remove `%s/" TRASH "/%s`", folders->path, name);
}

static void *removal_thread(void *argument) {
    struct removal *removal = argument;
    struct home_folders *folders = removal->folders;
    cleanup_close int trash = open_below(folders->fd, TRASH, false);
    if (trash < 0) {
        error_set_errno(&removal->err, ERROR_INTERNAL, "open `%s/" TRASH "`", folders->path);
    } else {
        removal->ok = remove_from_trash(folders, trash, removal->name, &removal->err);
    }
    ssize_t written;
    do {
        written = write(removal->pipe[1], "", 1);
    } while (written < 0 && errno == EINTR);
    return NULL;
}

static void on_removed(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct removal *removal = argument;
    pthread_join(removal->thread, NULL);
    struct error err = removal->err;
    bool ok = removal->ok;
    void (*done)(void *, const struct error *) = removal->done;
    void *done_argument = removal->argument;
    removal_free(removal);
    done(done_argument, ok ? NULL : &err);
}

static bool start_removal(struct home_folders *folders, const char *name,
                          void (*done)(void *argument, const struct error *err), void *argument, struct error *err) {
    struct removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    *removal = (struct removal){.folders = folders, .done = done, .argument = argument};
    strncpy(removal->name, name, sizeof removal->name - 1);
    if (pipe2(removal->pipe, O_CLOEXEC) < 0) {
        free(removal);
        return error_set_errno(err, ERROR_CAPACITY, "open a pipe");
    }
    DL_APPEND(folders->removals, removal);
    removal->event = event_new(folders->base, removal->pipe[0], EV_READ, on_removed, removal);
    if (removal->event == NULL || event_add(removal->event, NULL) < 0) {
        removal_free(removal);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    int problem = pthread_create(&removal->thread, NULL, removal_thread, removal);
    if (problem != 0) {
        removal_free(removal);
        errno = problem;
        return error_set_errno(err, ERROR_CAPACITY, "start a thread");
    }
    return true;
}

/* Renames the home into a new folder below .trash, whose name is written to `name`. 1, 0 if there is no home, -1 with
 * *err. */
static int move_to_trash(struct home_folders *folders, const char *relative, char name[37], struct error *err) {
    cleanup_close int trash = open_below(folders->fd, TRASH, true);
    if (trash < 0 || !digest_uuid(name) || mkdirat(trash, name, 0700) < 0) {
        error_set_errno(err, ERROR_INTERNAL, "create a folder in `%s/" TRASH "`", folders->path);
        return -1;
    }
    char copy[NAME_FOLDER_SIZE];
    snprintf(copy, sizeof copy, "%s", relative);
    char *slash = strrchr(copy, '/');
    const char *last = slash == NULL ? copy : slash + 1;
    if (slash != NULL) {
        *slash = '\0';
    }
    cleanup_close int parent = open_below(folders->fd, slash == NULL ? "." : copy, false);
    cleanup_close int into = openat(trash, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent >= 0 && into >= 0 && renameat(parent, last, into, "home") == 0) {
        return 1;
    }
    int saved = errno;
    unlinkat(trash, name, AT_REMOVEDIR);
    if (saved == ENOENT) {
        return 0;
    }
    errno = saved;
    error_set_errno(err, ERROR_INTERNAL, "move `%s/%s` to the trash", folders->path, relative);
    return -1;
}

void home_folder_purge(struct home_folders *folders, const char *user_id, const char *policy_id, const char *context_id,
                       void (*done)(void *argument, const struct error *err), void *argument) {
    struct error err = {0};
    char relative[NAME_FOLDER_SIZE];
    char name[37];
    int moved = relative_path(user_id, policy_id, context_id, relative, &err)
                    ? move_to_trash(folders, relative, name, &err)
                    : -1;
    if (moved == 0) {
        done(argument, NULL);
    } else if (moved < 0 || !start_removal(folders, name, done, argument, &err)) {
        done(argument, &err);
    }
}

static void on_trash_emptied(void *argument, const struct error *err) {
    (void)argument;
    if (err != NULL) {
        log_warning(NULL, "what earlier purges left: %s", err->message);
    }
}

void home_folders_empty_trash(struct home_folders *folders) {
    int fd = open_below(folders->fd, TRASH, false);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return; /* no purge ever was */
    }
    int left = LEFTOVERS_AT_ONCE;
    struct dirent *entry;
    while (left > 0 && (entry = readdir(directory)) != NULL) {
        struct error err;
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof folders->removals->name) {
            continue;
        }
        if (!start_removal(folders, entry->d_name, on_trash_emptied, NULL, &err)) {
            log_warning(NULL, "what earlier purges left: %s", err.message);
            break;
        }
        left--;
    }
    closedir(directory);
}
