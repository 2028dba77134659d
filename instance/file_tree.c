#include "instance/file_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/files_path.h"
#include "instance/files_text.h"

bool folder_make(const char *path, struct error *err) {
    struct stat status;
    if (stat(path, &status) == 0) {
        return S_ISDIR(status.st_mode) || error_set_path(err, EEXIST, path);
    }
    size_t length = strlen(path);
    if (length >= PATH_MAX) { /* before half of it is made */
        return error_set_path(err, ENAMETOOLONG, path);
    }
    cleanup_free char *partial = strdup(path);
    if (partial == NULL) {
        return error_set_path(err, ENOMEM, path);
    }
    /* Up to the lowest folder that is there, then down again; the first that cannot be made is the one to name. */
    size_t made = length;
    while (made > 1 && stat(partial, &status) != 0) {
        made = (size_t)(path_name(partial) - partial);
        made = made > 1 ? made - 1 : made;
        partial[made] = '\0';
    }
    while (made < length) {
        size_t next = made + 1 + strcspn(path + made + 1, "/");
        memcpy(partial + made, path + made, next - made);
        partial[next] = '\0';
        made = next;
        int problem = mkdir(partial, 0777) == 0 ? 0 : errno;
        if (problem != 0 && !(problem == EEXIST && stat(partial, &status) == 0 && S_ISDIR(status.st_mode))) {
            return error_set_path(err, problem, partial); /* EEXIST: a link that leads nowhere, too */
        }
    }
    return true;
}

/* ---- removing ---- */

/* A folder on the way down. Only the lowest is open; the way up is "..", checked to be the folder we came from, since
 * somebody may move folders meanwhile. */
struct level {
    struct level *above;
    dev_t device;
    ino_t inode;
    char name[]; /* in the folder above */
};

static void free_levels(struct level **lowest) {
    while (*lowest != NULL) {
        struct level *above = (*lowest)->above;
        free(*lowest);
        *lowest = above;
    }
}

/* Replaces *folder by its subfolder `name`. False: errno says. */
static bool descend(int *folder, struct level **lowest, const char *name) {
    cleanup_close int child = openat(*folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (child < 0 || fstat(child, &status) != 0) {
        return false;
    }
    struct level *level = malloc(sizeof(*level) + strlen(name) + 1);
    if (level == NULL) {
        return false;
    }
    level->above = *lowest;
    level->device = status.st_dev;
    level->inode = status.st_ino;
    strcpy(level->name, name);
    *lowest = level;
    close(*folder);
    *folder = steal_fd(&child);
    return true;
}

/* Replaces *folder by the one above and removes the (empty) folder we came from. False: errno says. */
static bool ascend_and_remove(int *folder, struct level **lowest) {
    struct level *level = *lowest;
    cleanup_close int parent = openat(*folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    if (parent < 0 || fstat(parent, &status) != 0) {
        return false;
    }
    if (level->above != NULL && (status.st_dev != level->above->device || status.st_ino != level->above->inode)) {
        errno = EBUSY; /* it was moved while we were in it */
        return false;
    }
    if (unlinkat(parent, level->name, AT_REMOVEDIR) != 0) {
        return false;
    }
    *lowest = level->above;
    free(level);
    close(*folder);
    *folder = steal_fd(&parent);
    return true;
}

static bool is_dot(const char *name) {
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Removes what is in the folder up to its first subfolder, whose name goes to `subfolder` ("" when there is none). */
static bool remove_entries(int folder, char subfolder[NAME_MAX + 1]) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (entries == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    subfolder[0] = '\0';
    int problem = 0;
    struct dirent *entry;
    while (problem == 0 && subfolder[0] == '\0' && (errno = 0, entry = readdir(entries)) != NULL) {
        if (is_dot(entry->d_name) || (entry->d_type != DT_DIR && unlinkat(folder, entry->d_name, 0) == 0)) {
            continue;
        }
        if (entry->d_type == DT_DIR || errno == EISDIR) { /* EISDIR: a file system that does not tell types */
            snprintf(subfolder, NAME_MAX + 1, "%s", entry->d_name);
        } else if (errno != ENOENT) {
            problem = errno;
        }
    }
    if (problem == 0 && subfolder[0] == '\0') {
        problem = errno; /* readdir() itself failed, or 0 at its end */
    }
    closedir(entries);
    errno = problem;
    return problem == 0;
}

/* Removes the folder `name` in *folder with all that is in it. False: errno says. */
static bool remove_folder(int *folder, const char *name) {
    __attribute__((cleanup(free_levels))) struct level *lowest = NULL;
    if (!descend(folder, &lowest, name)) {
        return false;
    }
    while (lowest != NULL) {
        char subfolder[NAME_MAX + 1];
        if (!remove_entries(*folder, subfolder) ||
            !(subfolder[0] != '\0' ? descend(folder, &lowest, subfolder) : ascend_and_remove(folder, &lowest))) {
            return false;
        }
    }
    return true;
}

bool tree_remove(const char *path, struct error *err) {
    cleanup_free char *above = path_folder(path);
    if (above == NULL) {
        return error_set_path(err, ENOMEM, path);
    }
    cleanup_close int folder = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 && errno == EACCES) {
        folder = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC); /* entered, not read: enough to remove a known name */
    }
    if (folder < 0) {
        return error_set_path(err, errno, path);
    }
    if (unlinkat(folder, path_name(path), 0) == 0) {
        return true;
    }
    return (errno == EISDIR && remove_folder(&folder, path_name(path))) || error_set_path(err, errno, path);
}

/* ---- moving ---- */

#define COPY_DEPTH_MAX   64 /* folders deep; each holds two descriptors */
#define COPY_CHUNK_BYTES (1024 * 1024)

static bool copy_entry(int from, const char *name, int to, const char *new_name, int depth);

static bool copy_content(int from, int to) {
    cleanup_free char *chunk = malloc(COPY_CHUNK_BYTES);
    ssize_t length = chunk == NULL ? -1 : 0;
    while (chunk != NULL && (length = read(from, chunk, COPY_CHUNK_BYTES)) > 0) {
        for (ssize_t at = 0; at < length;) {
            ssize_t written = write(to, chunk + at, (size_t)(length - at));
            if (written <= 0) {
                return false;
            }
            at += written;
        }
    }
    return length == 0;
}

static bool copy_attributes(int fd, const struct stat *status) {
    struct timespec times[2] = {status->st_atim, status->st_mtim};
    return fchmod(fd, status->st_mode & 07777) == 0 && futimens(fd, times) == 0;
}

static bool copy_file(int from, const char *name, int to, const char *new_name) {
    cleanup_close int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (source < 0 || fstat(source, &status) != 0) {
        return false;
    }
    cleanup_close int copy = openat(to, new_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return copy >= 0 && copy_content(source, copy) && copy_attributes(copy, &status);
}

static bool copy_link(int from, const char *name, int to, const char *new_name) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);
    if (length < 0) {
        return false;
    }
    target[length] = '\0';
    return symlinkat(target, to, new_name) == 0;
}

static bool copy_entries(DIR *entries, int to, int depth) {
    struct dirent *entry;
    while ((errno = 0, entry = readdir(entries)) != NULL) {
        if (!is_dot(entry->d_name) && !copy_entry(dirfd(entries), entry->d_name, to, entry->d_name, depth)) {
            return false;
        }
    }
    return errno == 0;
}

static bool copy_folder(int from, const char *name, int to, const char *new_name, int depth) {
    if (depth == COPY_DEPTH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (mkdirat(to, new_name, 0700) != 0) {
        return false;
    }
    cleanup_close int copy = openat(to, new_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_close int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (copy < 0 || source < 0 || fstat(source, &status) != 0) {
        return false;
    }
    DIR *entries = fdopendir(source);
    if (entries == NULL) {
        return false;
    }
    steal_fd(&source);
    bool ok = copy_entries(entries, copy, depth + 1);
    int problem = errno;
    closedir(entries);
    errno = problem;
    return ok && copy_attributes(copy, &status);
}

static bool copy_entry(int from, const char *name, int to, const char *new_name, int depth) {
    struct stat status;
    if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return false;
    }
    switch (status.st_mode & S_IFMT) {
    case S_IFREG:
        return copy_file(from, name, to, new_name);
    case S_IFDIR:
        return copy_folder(from, name, to, new_name, depth);
    case S_IFLNK:
        return copy_link(from, name, to, new_name);
    default:
        errno = EXDEV; /* a pipe or a socket: whoever has it open would not find it again */
        return false;
    }
}

/* renameat2() with RENAME_NOREPLACE, or the nearest to it on a file system that does not know the flag. */
static bool rename_to_new(const char *source, const char *destination) {
    if (renameat2(AT_FDCWD, source, AT_FDCWD, destination, RENAME_NOREPLACE) == 0) {
        return true;
    }
    struct stat status;
    if (errno != EINVAL || path_is_within(destination, source)) {
        return false;
    }
    if (lstat(destination, &status) == 0) {
        errno = EEXIST;
        return false;
    }
    return errno == ENOENT && rename(source, destination) == 0;
}

static bool move_between_file_systems(const char *source, const char *destination, struct error *err) {
    char name[PATH_TEMPORARY_NAME_SIZE];
    cleanup_free char *folder = path_folder(destination);
    cleanup_free char *temporary = folder != NULL && path_temporary_name(name) ? path_join(folder, name) : NULL;
    if (temporary == NULL) {
        return error_set_path(err, ENOMEM, destination);
    }
    if (!copy_entry(AT_FDCWD, source, AT_FDCWD, temporary, 0) || !rename_to_new(temporary, destination)) {
        int problem = errno;
        tree_remove(temporary, NULL);
        return problem == EEXIST ? error_set(err, ERROR_CONFLICT, "Destination already exists")
                                 : error_set_path(err, problem, source);
    }
    return tree_remove(source, err);
}

bool tree_move(const char *source, const char *destination, struct error *err) {
    if (rename_to_new(source, destination)) {
        return true;
    }
    if (errno == EEXIST) {
        return error_set(err, ERROR_CONFLICT, "Destination already exists");
    }
    if (errno == EXDEV) {
        return move_between_file_systems(source, destination, err);
    }
    int problem = errno;
    cleanup_free char *folder = path_folder(destination);
    bool is_destination = folder != NULL && (problem == EACCES || problem == EROFS) && access(folder, W_OK | X_OK) != 0;
    return error_set_path(err, problem, is_destination ? destination : source);
}

bool tree_holds(const char *path, const char *home) {
    struct stat wanted;
    if (lstat(path, &wanted) != 0) {
        return false;
    }
    cleanup_free char *folder = strdup(home);
    while (folder != NULL) {
        struct stat status;
        if (stat(folder, &status) == 0 && status.st_dev == wanted.st_dev && status.st_ino == wanted.st_ino) {
            return true;
        }
        if (strcmp(folder, "/") == 0) {
            return false;
        }
        char *above = path_folder(folder);
        free(folder);
        folder = above;
    }
    return true; /* no memory to find out */
}
