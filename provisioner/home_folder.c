#include "provisioner/home_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/names.h"
#include "provisioner/removals.h"
#include "provisioner/run_folder.h"

#define TRASH  ".trash"
#define INSIDE "home" /* a folder of the trash has what was moved there by this name */

struct home_folders {
    char *path; /* absolute */
    int fd;
    struct removals *removals;
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
    folders->fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    folders->path = realpath(data_dir, NULL);
    if (folders->fd < 0 || folders->path == NULL) {
        error_set_errno(err, ERROR_INTERNAL, "open the data folder `%s`", data_dir);
        home_folders_close(folders);
        return NULL;
    }
    cleanup_buffer struct buffer trash = {0};
    if (!buffer_append_format(&trash, "%s/" TRASH, folders->path) ||
        (folders->removals = removals_open(trash.data, base)) == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        home_folders_close(folders);
        return NULL;
    }
    return folders;
}

void home_folders_close(struct home_folders *folders) {
    if (folders == NULL) {
        return;
    }
    removals_close(folders->removals);
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
        error_veil(err, "The user's folder cannot be made");
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

/* The trash, made if need be. -1 with *err. */
static int open_trash(struct home_folders *folders, struct error *err) {
    int trash = open_below(folders->fd, TRASH, true);
    if (trash < 0) {
        error_set_errno(err, ERROR_INTERNAL, "create `%s/" TRASH "`", folders->path);
    }
    return trash;
}

/* Renames the home into the folder `name` of the trash, which has nothing of that name in it. */
static enum home_folder_put move_to_trash(struct home_folders *folders, const char *relative, int trash,
                                          const char *name, struct error *err) {
    char copy[NAME_FOLDER_SIZE];
    snprintf(copy, sizeof copy, "%s", relative);
    char *slash = strrchr(copy, '/');
    const char *last = slash == NULL ? copy : slash + 1;
    if (slash != NULL) {
        *slash = '\0';
    }
    cleanup_close int parent = open_below(folders->fd, slash == NULL ? "." : copy, false);
    cleanup_close int into = openat(trash, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent >= 0 && into >= 0 && renameat(parent, last, into, INSIDE) == 0) {
        return HOME_FOLDER_PUT_AWAY;
    }
    int saved = errno;
    unlinkat(trash, name, AT_REMOVEDIR);
    if (saved == ENOENT) {
        return HOME_FOLDER_ABSENT;
    }
    errno = saved;
    error_set_errno(err, ERROR_INTERNAL, "move `%s/%s` to the trash", folders->path, relative);
    return HOME_FOLDER_FAILED;
}

void home_folder_purge(struct home_folders *folders, const char *user_id, const char *policy_id, const char *context_id,
                       void (*done)(void *argument, const struct error *err), void *argument) {
    struct error err = {0};
    char name[37];
    enum home_folder_put put = HOME_FOLDER_FAILED;
    if (digest_uuid(name)) {
        put = home_folder_put_away(folders, user_id, policy_id, context_id, name, &err);
    } else {
        error_set(&err, ERROR_INTERNAL, "the kernel gives no random bytes");
    }
    if (put == HOME_FOLDER_FAILED) {
        done(argument, &err);
    } else if (put == HOME_FOLDER_ABSENT) {
        done(argument, NULL);
    } else {
        home_folder_discard(folders, name, done, argument);
    }
}

static bool is_put_away(int trash, const char *mark) {
    cleanup_close int fd = openat(trash, mark, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && faccessat(fd, INSIDE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool home_folder_is_put_away(const struct home_folders *folders, const char *mark) {
    cleanup_close int trash = open_below(folders->fd, TRASH, false);
    return trash >= 0 && is_put_away(trash, mark);
}

enum home_folder_put home_folder_put_away(struct home_folders *folders, const char *user_id, const char *policy_id,
                                          const char *context_id, const char *mark, struct error *err) {
    char relative[NAME_FOLDER_SIZE];
    return relative_path(user_id, policy_id, context_id, relative, err)
               ? home_folder_put_path_away(folders, relative, mark, err)
               : HOME_FOLDER_FAILED;
}

enum home_folder_put home_folder_put_path_away(struct home_folders *folders, const char *relative, const char *mark,
                                               struct error *err) {
    cleanup_close int trash = open_trash(folders, err);
    if (trash < 0) {
        return HOME_FOLDER_FAILED;
    }
    if (is_put_away(trash, mark)) {
        return HOME_FOLDER_PUT_AWAY;
    }
    /* There is one already where we were killed before the folder was moved. */
    if (mkdirat(trash, mark, 0700) < 0 && errno != EEXIST) {
        error_set_errno(err, ERROR_INTERNAL, "create `%s/" TRASH "/%s`", folders->path, mark);
        return HOME_FOLDER_FAILED;
    }
    return move_to_trash(folders, relative, trash, mark, err);
}

bool home_folder_is_being_discarded(const struct home_folders *folders, const char *mark) {
    return removals_has(folders->removals, mark);
}

void home_folder_discard(struct home_folders *folders, const char *mark,
                         void (*done)(void *argument, const struct error *err), void *argument) {
    struct error err = {0};
    if (!removals_add(folders->removals, mark, done, argument, &err)) {
        done(argument, &err);
    }
}

/* A stream over the trash, or NULL if there is none. */
static DIR *list_trash(const struct home_folders *folders) {
    cleanup_close int fd = open_below(folders->fd, TRASH, false);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory != NULL) {
        steal_fd(&fd);
    }
    return directory;
}

/* The next folder's name, or NULL at the end. */
static const char *next_name(DIR *directory) {
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.' && strlen(entry->d_name) <= HOME_FOLDER_MARK_MAX_BYTES) {
            return entry->d_name;
        }
    }
    return NULL;
}

bool home_folders_each_put_away(const struct home_folders *folders,
                                bool (*each)(void *argument, const char *mark, struct error *err), void *argument,
                                struct error *err) {
    DIR *directory = list_trash(folders);
    const char *name = NULL;
    bool ok = true;
    while (ok && directory != NULL && (name = next_name(directory)) != NULL) {
        ok = !is_put_away(dirfd(directory), name) || each(argument, name, err);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return ok;
}

static void on_trash_emptied(void *argument, const struct error *err) {
    (void)argument;
    if (err != NULL) {
        log_warning(NULL, "what earlier purges left: %s", err->message);
    }
}

void home_folders_empty_trash(struct home_folders *folders) {
    DIR *directory = list_trash(folders);
    const char *name = NULL;
    if (directory == NULL) {
        return; /* no purge ever was */
    }
    while ((name = next_name(directory)) != NULL) {
        struct error err;
        if (!removals_add(folders->removals, name, on_trash_emptied, NULL, &err)) {
            log_warning(NULL, "what earlier purges left: %s", err.message);
            break;
        }
    }
    closedir(directory);
}
