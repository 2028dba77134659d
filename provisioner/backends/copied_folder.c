#include "provisioner/backends/copied_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/write_whole.h"

#define NEXT_SUFFIX ".next" /* a file, before it takes its place */

/* Makes a folder where there may be one, or a file that was in its place on the machine too. */
static bool make_folder(const struct copied_folder *folder, const char *name, struct error *err) {
    struct stat status;
    if (mkdirat(folder->fd, name, 0755) == 0) {
        return true;
    }
    bool exists = errno == EEXIST && fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (exists && S_ISDIR(status.st_mode)) {
        return true;
    }
    return (exists && unlinkat(folder->fd, name, 0) == 0 && mkdirat(folder->fd, name, 0755) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "make the folder `%s/%s`", folder->path, name);
}

static bool make_parents(const struct copied_folder *folder, const char *name, struct error *err) {
    cleanup_free char *parent = strdup(name);
    if (parent == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    for (char *slash = strchr(parent, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!make_folder(folder, parent, err)) {
            return false;
        }
        *slash = '/';
    }
    return true;
}

/* A file of the next version. Nothing is synced: after a crash of the machine all is copied anew. */
static int open_next(const struct copied_folder *folder) {
    return openat(folder->parent_fd, folder->next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
}

/* It takes its place, which an empty folder may have been until now. */
static bool install_next(const struct copied_folder *folder, const char *name, struct error *err) {
    if (!make_parents(folder, name, err)) {
        return false;
    }
    return renameat(folder->parent_fd, folder->next, folder->fd, name) == 0 ||
           (errno == EISDIR && unlinkat(folder->fd, name, AT_REMOVEDIR) == 0 &&
            renameat(folder->parent_fd, folder->next, folder->fd, name) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "make `%s/%s`", folder->path, name);
}

static bool copy_content(int from, int to) {
    char buffer[16384];
    ssize_t count;
    do {
        count = read(from, buffer, sizeof buffer);
        if (count > 0 && !write_whole(to, buffer, (size_t)count)) {
            return false;
        }
    } while (count > 0 || (count < 0 && errno == EINTR));
    return count == 0;
}

bool copied_folder_write(const struct copied_folder *folder, const char *name, const char *content, struct error *err) {
    cleanup_close int to = open_next(folder);
    if (to < 0 || !write_whole(to, content, strlen(content))) {
        return error_set_errno(err, ERROR_INTERNAL, "write `%s/%s`", folder->path, name);
    }
    return install_next(folder, name, err);
}

bool copied_folder_copy(const struct copied_folder *folder, const char *name, int from, struct error *err) {
    cleanup_close int to = open_next(folder);
    if (to < 0 || !copy_content(from, to)) {
        return error_set_errno(err, ERROR_INTERNAL, "make the copy `%s/%s`", folder->path, name);
    }
    return install_next(folder, name, err);
}

bool copied_folder_make_empty(const struct copied_folder *folder, const char *name, struct error *err) {
    return make_parents(folder, name, err) && make_folder(folder, name, err);
}

bool copied_folder_remove(const struct copied_folder *folder, const char *name, bool is_folder, struct error *err) {
    return unlinkat(folder->fd, name, is_folder ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT ||
           error_set_errno(err, ERROR_INTERNAL, "remove `%s/%s`", folder->path, name);
}

bool copied_folder_keep_only(const struct copied_folder *folder, bool (*belongs)(void *argument, const char *name),
                             void *argument, struct error *err) {
    char *const roots[] = {folder->path, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    bool removed = walk != NULL || error_set_errno(err, ERROR_INTERNAL, "look through `%s`", folder->path);
    for (const FTSENT *at = NULL; removed && (at = fts_read(walk)) != NULL;) {
        if (at->fts_info == FTS_D || at->fts_level == FTS_ROOTLEVEL ||
            belongs(argument, at->fts_path + strlen(folder->path) + 1)) {
            continue;
        }
        bool is_folder = at->fts_info == FTS_DP;
        if (unlinkat(AT_FDCWD, at->fts_path, is_folder ? AT_REMOVEDIR : 0) != 0 && !(is_folder && errno == ENOTEMPTY)) {
            removed = error_set_errno(err, ERROR_INTERNAL, "remove `%s`", at->fts_path);
        }
    }
    if (walk != NULL) {
        fts_close(walk);
    }
    return removed;
}

bool copied_folder_open(struct copied_folder *folder, const char *parent, const char *name, struct error *err) {
    *folder = (struct copied_folder){.parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .fd = -1};
    if (asprintf(&folder->path, "%s/%s", parent, name) < 0) {
        folder->path = NULL;
    }
    if (asprintf(&folder->next, "%s" NEXT_SUFFIX, name) < 0) {
        folder->next = NULL;
    }
    if (folder->path == NULL || folder->next == NULL) {
        copied_folder_close(folder);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (folder->parent_fd >= 0 && (mkdirat(folder->parent_fd, name, 0755) == 0 || errno == EEXIST)) {
        folder->fd = openat(folder->parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (folder->fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "make `%s`", folder->path);
        copied_folder_close(folder);
        return false;
    }
    return true;
}

void copied_folder_close(struct copied_folder *folder) {
    if (folder->fd >= 0) {
        close(steal_fd(&folder->fd));
    }
    if (folder->parent_fd >= 0) {
        close(steal_fd(&folder->parent_fd));
    }
    free(steal_pointer(&folder->path));
    free(steal_pointer(&folder->next));
}
