#include "instance/file_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/folder_names.h"

/* A folder still to be read; the one on top comes first. */
struct pending {
    struct pending *below;
    char relative[]; /* "" for the root */
};

static void free_pending(struct pending **top) {
    while (*top != NULL) {
        struct pending *below = (*top)->below;
        free(*top);
        *top = below;
    }
}

static bool push(struct pending **top, const char *relative) {
    struct pending *pending = malloc(sizeof(*pending) + strlen(relative) + 1);
    if (pending == NULL) {
        return false;
    }
    strcpy(pending->relative, relative);
    pending->below = *top;
    *top = pending;
    return true;
}

/* Puts the folders that were pushed since `below` was on top into the order in which they were pushed. */
static void reverse_down_to(struct pending **top, struct pending *below) {
    struct pending *reversed = below;
    while (*top != below) {
        struct pending *next = (*top)->below;
        (*top)->below = reversed;
        reversed = *top;
        *top = next;
    }
    *top = reversed;
}

struct walk {
    enum file_walk_step (*visit)(void *state, const struct file_walk_entry *entry);
    void *state;
    struct pending *top;
    bool is_stopped;
    struct buffer path; /* of the entry that is visited */
    size_t root_length; /* with the slash behind it */
};

bool file_walk_status(const struct file_walk_entry *entry, struct stat *status) {
    return fstatat(entry->folder, entry->name, status, 0) == 0;
}

static enum file_walk_type type_of_mode(mode_t mode) {
    return S_ISREG(mode) ? FILE_WALK_FILE : S_ISDIR(mode) ? FILE_WALK_FOLDER : FILE_WALK_OTHER;
}

bool file_walk_find_type(int folder, const char *name, unsigned char folder_type, enum file_walk_type *type,
                         bool *is_link) {
    struct stat status;
    *is_link = folder_type == DT_LNK;
    if (folder_type == DT_UNKNOWN) {
        if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            return false;
        }
        *is_link = S_ISLNK(status.st_mode);
        *type = type_of_mode(status.st_mode);
    } else {
        *type = folder_type == DT_REG ? FILE_WALK_FILE : folder_type == DT_DIR ? FILE_WALK_FOLDER : FILE_WALK_OTHER;
    }
    if (*is_link) {
        if (fstatat(folder, name, &status, 0) != 0) {
            return false;
        }
        *type = type_of_mode(status.st_mode);
    }
    return true;
}

/* Makes walk->path the root's path with `relative` behind it; false: no memory. */
static bool set_path(struct walk *walk, const char *relative) {
    walk->path.length = walk->root_length;
    return buffer_append(&walk->path, relative, strlen(relative));
}

/* walk->path is the folder's, with a slash behind it, `folder_length` bytes. False: no memory. */
static bool visit_entry(struct walk *walk, int fd, size_t folder_length, const char *name, unsigned char folder_type) {
    struct file_walk_entry entry = {.name = name, .folder = fd};
    if (!file_walk_find_type(fd, name, folder_type, &entry.type, &entry.is_link)) {
        return true;
    }
    walk->path.length = folder_length;
    if (!buffer_append(&walk->path, name, strlen(name))) {
        return false;
    }
    entry.path = walk->path.data;
    entry.relative = walk->path.data + walk->root_length;
    enum file_walk_step step = walk->visit(walk->state, &entry);
    walk->is_stopped = step == FILE_WALK_STOP;
    return step != FILE_WALK_ON || entry.type != FILE_WALK_FOLDER || entry.is_link || push(&walk->top, entry.relative);
}

static bool visit_folder(struct walk *walk, const char *relative) {
    if (!set_path(walk, relative)) {
        return false;
    }
    cleanup_close int fd = open(walk->path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_folder_names struct folder_names names = {0};
    if (fd < 0 || !folder_names_read(fd, &names)) {
        return true;
    }
    if (*relative != '\0' && !buffer_append(&walk->path, "/", 1)) {
        return false;
    }
    size_t folder_length = walk->path.length;
    struct pending *below = walk->top;
    for (size_t i = 0; i < names.count && !walk->is_stopped; i++) {
        if (!visit_entry(walk, fd, folder_length, folder_names_at(&names, i), folder_names_type_at(&names, i))) {
            return false;
        }
    }
    reverse_down_to(&walk->top, below);
    return true;
}

bool file_walk(const char *root, enum file_walk_step (*visit)(void *state, const struct file_walk_entry *entry),
               void *state) {
    struct walk walk = {.visit = visit, .state = state};
    bool ok = buffer_append_string(&walk.path, root) &&
              (root[strlen(root) - 1] == '/' || buffer_append(&walk.path, "/", 1)) && push(&walk.top, "");
    walk.root_length = walk.path.length;
    while (ok && walk.top != NULL && !walk.is_stopped) {
        cleanup_free struct pending *folder = walk.top;
        walk.top = folder->below;
        ok = visit_folder(&walk, folder->relative);
    }
    free_pending(&walk.top);
    buffer_free(&walk.path);
    return ok;
}
