#include "instance/file_walk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/files_path.h"
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
    const char *root;
    enum file_walk_step (*visit)(void *state, const struct file_walk_entry *entry);
    void *state;
    struct pending *top;
    bool is_stopped;
};

/* False: no memory. */
static bool visit_entry(struct walk *walk, int fd, const char *folder, const char *relative_folder, const char *name) {
    struct stat status;
    struct stat link;
    if (fstatat(fd, name, &status, 0) != 0 || fstatat(fd, name, &link, AT_SYMLINK_NOFOLLOW) != 0) {
        return true;
    }
    cleanup_free char *path = path_join(folder, name);
    cleanup_free char *relative = *relative_folder != '\0' ? path_join(relative_folder, name) : strdup(name);
    if (path == NULL || relative == NULL) {
        return false;
    }
    struct file_walk_entry entry = {.name = name, .relative = relative, .path = path, .status = &status};
    enum file_walk_step step = walk->visit(walk->state, &entry);
    walk->is_stopped = step == FILE_WALK_STOP;
    return step != FILE_WALK_ON || !S_ISDIR(link.st_mode) || push(&walk->top, relative);
}

static bool visit_folder(struct walk *walk, const char *relative) {
    cleanup_free char *folder = *relative != '\0' ? path_join(walk->root, relative) : strdup(walk->root);
    if (folder == NULL) {
        return false;
    }
    cleanup_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_folder_names struct folder_names names = {0};
    if (fd < 0 || !folder_names_read(fd, &names)) {
        return true;
    }
    struct pending *below = walk->top;
    for (size_t i = 0; i < names.count && !walk->is_stopped; i++) {
        if (!visit_entry(walk, fd, folder, relative, folder_names_at(&names, i))) {
            return false;
        }
    }
    reverse_down_to(&walk->top, below);
    return true;
}

bool file_walk(const char *root, enum file_walk_step (*visit)(void *state, const struct file_walk_entry *entry),
               void *state) {
    struct walk walk = {.root = root, .visit = visit, .state = state};
    bool ok = push(&walk.top, "");
    while (ok && walk.top != NULL && !walk.is_stopped) {
        cleanup_free struct pending *folder = walk.top;
        walk.top = folder->below;
        ok = visit_folder(&walk, folder->relative);
    }
    free_pending(&walk.top);
    return ok;
}
