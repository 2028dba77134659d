#include "common/remove_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

static void closedir_cleanup_function(DIR **directory) {
    if (*directory != NULL) {
        closedir(*directory);
    }
}
#define cleanup_closedir __attribute__((cleanup(closedir_cleanup_function)))

static bool is_dot(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Its owner may have taken all rights from a folder, even from himself (`chmod 0`). Through /proc, because chmod on an
 * O_PATH descriptor needs it and fchmodat() would follow a link. */
static void make_accessible(int parent, const char *name) {
    cleanup_close int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (chmod(path, 0700) < 0) {
            return; /* what needed it fails next, and says so */
        }
    }
}

/* A stream over a folder below `parent`; it owns its descriptor. */
static DIR *open_folder(int parent, const char *name, struct error *err) {
    make_accessible(parent, name);
    cleanup_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        error_set_errno(err, ERROR_INTERNAL, "open the folder `%.100s`", name);
        return NULL;
    }
    steal_fd(&fd);
    return directory;
}

/* Moves the folder `name` from `parent` up into `trash`, under a number that is free. */
static bool move_up(int parent, const char *name, int trash, unsigned long *next, struct error *err) {
    make_accessible(parent, name);
    for (;;) {
        char number[32];
        snprintf(number, sizeof number, "%lu", (*next)++);
        if (renameat(parent, name, trash, number) == 0) {
            return true;
        }
        /* A number taken by a folder left from an earlier run; an empty one is simply replaced. */
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) {
            return error_set_errno(err, ERROR_INTERNAL, "remove the folder `%.100s` (a mount?)", name);
        }
    }
}

static bool remove_entry(int parent, const char *name, int trash, unsigned long *next, struct error *err) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) {
        return true;
    }
    /* Linux says EISDIR, POSIX says EPERM for a folder. */
    if (errno != EISDIR && errno != EPERM) {
        return error_set_errno(err, ERROR_INTERNAL, "remove `%.100s`", name);
    }
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0) {
        return true;
    }
    if (errno != ENOTEMPTY && errno != EEXIST) {
        return error_set_errno(err, ERROR_INTERNAL, "remove `%.100s` (a mount?)", name);
    }
    return move_up(parent, name, trash, next, err);
}

static bool remove_folder(int trash, const char *name, unsigned long *next, const atomic_bool *cancelled,
                          struct error *err) {
    cleanup_closedir DIR *directory = open_folder(trash, name, err);
    if (directory == NULL) {
        return false;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL && errno != 0) {
            return error_set_errno(err, ERROR_INTERNAL, "read the folder `%.100s`", name);
        }
        if (entry == NULL) {
            break;
        }
        if (atomic_load(cancelled)) {
            return error_set(err, ERROR_CAPACITY, "interrupted; the next start goes on with it");
        }
        if (!is_dot(entry->d_name) && !remove_entry(dirfd(directory), entry->d_name, trash, next, err)) {
            return false;
        }
    }
    /* Entries that readdir() passed over while others vanished: the caller comes round again. */
    if (unlinkat(trash, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST) {
        return error_set_errno(err, ERROR_INTERNAL, "remove the folder `%.100s`", name);
    }
    return true;
}

bool remove_tree_contents(int trash, const atomic_bool *cancelled, struct error *err) {
    unsigned long next = 0;
    for (bool found = true; found;) {
        found = false;
        cleanup_closedir DIR *directory = open_folder(trash, ".", err);
        if (directory == NULL) {
            return false;
        }
        struct dirent *entry;
        while (errno = 0, (entry = readdir(directory)) != NULL) {
            if (is_dot(entry->d_name)) {
                continue;
            }
            found = true;
            if (unlinkat(trash, entry->d_name, 0) < 0 && !remove_folder(trash, entry->d_name, &next, cancelled, err)) {
                return false;
            }
        }
        if (errno != 0) {
            return error_set_errno(err, ERROR_INTERNAL, "read the trash");
        }
    }
    return true;
}
