#include "instance/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/files_path.h"
#include "instance/files_text.h"

#define SYMLINKS_MAX      40 /* as the kernel's own limit, path_resolution(7) */
#define NAME_ATTEMPTS_MAX 100
#define NEW_FILE_MODE     0666 /* the umask takes from it */
#define DRAFT_MODE        0600

struct atomic_file {
    char *path;                               /* as given, for errors */
    char *target;                             /* behind all symbolic links; NULL: written in place */
    int folder;                               /* the target's; -1 in place */
    int fd;                                   /* what is written goes here */
    int in_place;                             /* a regular file that gets it at the commit; -1: there is none */
    bool is_new;                              /* there was no target */
    char temporary[PATH_TEMPORARY_NAME_SIZE]; /* the name in `folder` that has the new content, "" while it has none */
};

static const char *target_name(const struct atomic_file *file) {
    return path_name(file->target);
}

/* Where `path` leads behind its last segment's symbolic links, which may dangle. NULL: errno says. */
static char *follow_links(const char *path) {
    cleanup_free char *current = strdup(path);
    for (int i = 0; current != NULL && i < SYMLINKS_MAX; i++) {
        char link[PATH_MAX];
        ssize_t length = readlink(current, link, sizeof(link) - 1);
        if (length < 0) {
            return steal_pointer(&current); /* no link, or nothing there: open() will say what is wrong */
        }
        link[length] = '\0';
        char *next = link[0] == '/' ? strdup(link) : NULL;
        if (link[0] != '/') {
            cleanup_free char *folder = path_folder(current);
            next = folder == NULL ? NULL : path_join(folder, link);
        }
        free(current);
        current = next;
    }
    if (current != NULL) {
        errno = ELOOP;
    }
    return NULL;
}

/* Opens the file for the new content. False: errno says. */
static bool open_temporary(struct atomic_file *file) {
    file->fd = openat(file->folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, NEW_FILE_MODE);
    if (file->fd >= 0) {
        return true;
    }
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) {
        return false;
    }
    for (int i = 0; i < NAME_ATTEMPTS_MAX; i++) {
        if (!path_temporary_name(file->temporary)) {
            break;
        }
        file->fd =
            openat(file->folder, file->temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, NEW_FILE_MODE);
        if (file->fd >= 0) {
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    file->temporary[0] = '\0';
    return false;
}

/* A file without a name for what is to be written in place: best on the same disk. -1: there can be none. */
static int open_draft(const char *path) {
    cleanup_free char *folder = path_folder(path);
    int fd = folder == NULL ? -1 : open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, DRAFT_MODE);
    return fd >= 0 ? fd : open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, DRAFT_MODE);
}

/* O_NONBLOCK: a pipe that nobody reads fails with ENXIO instead of waiting for a reader. */
static bool open_in_place(struct atomic_file *file) {
    struct stat status;
    cleanup_close int fd = open(file->path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return false;
    }
    if (S_ISREG(status.st_mode) && (file->fd = open_draft(file->path)) >= 0) {
        file->in_place = steal_fd(&fd);
    } else if (S_ISREG(status.st_mode) && ftruncate(fd, 0) != 0) {
        return false;
    } else {
        file->fd = steal_fd(&fd);
    }
    free(file->target);
    file->target = NULL;
    return true;
}

/* The new file gets what is known of the one it replaces. Ownership is tried: only root can give a file away. */
static bool copy_attributes(const struct atomic_file *file, const struct stat *old) {
    if (fchown(file->fd, old->st_uid, old->st_gid) != 0 && errno != EPERM) {
        return false;
    }
    return fchmod(file->fd, old->st_mode & 07777) == 0;
}

/* False: errno says. */
static bool open_replacement(struct atomic_file *file) {
    struct stat old;
    file->is_new = stat(file->path, &old) != 0;
    if (file->is_new && errno != ENOENT) {
        return false;
    }
    if (!file->is_new && S_ISDIR(old.st_mode)) {
        errno = EISDIR;
        return false;
    }
    if (!file->is_new && (!S_ISREG(old.st_mode) || old.st_nlink > 1)) {
        return open_in_place(file);
    }
    /* Replacing a file needs no permission on it, only on its folder; writing to it does. */
    if (!file->is_new && faccessat(AT_FDCWD, file->path, W_OK, AT_EACCESS) != 0) {
        return false;
    }
    cleanup_free char *folder = path_folder(file->target);
    if (folder == NULL) {
        return false;
    }
    file->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (file->folder < 0) {
        return false;
    }
    if (!open_temporary(file)) {
        return (errno == EACCES || errno == EROFS) && !file->is_new && open_in_place(file);
    }
    return file->is_new || copy_attributes(file, &old);
}

struct atomic_file *atomic_file_open(const char *path, struct error *err) {
    cleanup_atomic_file struct atomic_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        error_set_path(err, ENOMEM, path);
        return NULL;
    }
    file->folder = -1;
    file->fd = -1;
    file->in_place = -1;
    file->path = strdup(path);
    file->target = follow_links(path);
    if (file->path == NULL || file->target == NULL || !open_replacement(file)) {
        error_set_path(err, errno, path);
        return NULL;
    }
    return steal_pointer(&file);
}

bool atomic_file_write(struct atomic_file *file, const void *bytes, size_t length, struct error *err) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(file->fd, at, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return error_set_path(err, written == 0 ? EIO : errno, file->path);
        }
        at += written;
        length -= (size_t)written;
    }
    return true;
}

/* Gives the file without a name this one. False: errno says. */
static bool link_as(struct atomic_file *file, const char *name) {
    char self[64];
    snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
    return linkat(AT_FDCWD, self, file->folder, name, AT_SYMLINK_FOLLOW) == 0;
}

/* False: errno says. */
static bool put_in_place(struct atomic_file *file) {
    if (file->temporary[0] == '\0') {
        /* A new name needs no detour, so a death here leaves nothing behind. */
        if (file->is_new && link_as(file, target_name(file))) {
            return true;
        }
        char name[PATH_TEMPORARY_NAME_SIZE];
        if (!path_temporary_name(name) || !link_as(file, name)) {
            return false;
        }
        memcpy(file->temporary, name, sizeof(name));
    }
    if (renameat(file->folder, file->temporary, file->folder, target_name(file)) != 0) {
        return false;
    }
    file->temporary[0] = '\0';
    return true;
}

/* Copies the draft over the file, once the disk has room for it. False: errno says. */
static bool copy_in_place(const struct atomic_file *file) {
    struct stat status;
    off_t offset = 0;
    if (fstat(file->fd, &status) != 0 ||
        (status.st_size > 0 && fallocate(file->in_place, FALLOC_FL_KEEP_SIZE, 0, status.st_size) != 0 &&
         errno != EOPNOTSUPP && errno != ENOSYS)) {
        return false;
    }
    while (offset < status.st_size) {
        ssize_t copied = sendfile(file->in_place, file->fd, &offset, (size_t)(status.st_size - offset));
        if (copied < 0 && errno == EINTR) {
            continue;
        }
        if (copied <= 0) {
            errno = copied == 0 ? EIO : errno;
            return false;
        }
    }
    return ftruncate(file->in_place, status.st_size) == 0;
}

bool atomic_file_commit(struct atomic_file *file, struct error *err) {
    bool is_draft = file->in_place >= 0;
    if ((file->target != NULL && !put_in_place(file)) || (is_draft && !copy_in_place(file))) {
        return error_set_path(err, errno, file->path);
    }
    int fd = steal_fd(is_draft ? &file->in_place : &file->fd);
    if (close(fd) != 0 && errno != EINTR) { /* where a full disk shows on a network file system */
        return error_set_path(err, errno, file->path);
    }
    return true;
}

void atomic_file_free(struct atomic_file *file) {
    if (file == NULL) {
        return;
    }
    if (file->temporary[0] != '\0') {
        unlinkat(file->folder, file->temporary, 0);
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    if (file->in_place >= 0) {
        close(file->in_place);
    }
    if (file->folder >= 0) {
        close(file->folder);
    }
    free(file->path);
    free(file->target);
    free(file);
}
