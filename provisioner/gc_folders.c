#include "provisioner/gc_folders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/names.h"

#define REPLACED_PREFIX ".replaced-"

struct walk {
    bool (*each)(void *argument, enum gc_folder_kind kind, const char *name, struct error *err);
    void *argument;
};

static void cleanup_closedir(DIR **directory) {
    if (*directory != NULL) {
        closedir(*directory);
    }
}
#define cleanup_directory __attribute__((cleanup(cleanup_closedir)))

/* NULL with errno. */
static DIR *open_folder(int parent, const char *name) {
    cleanup_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory != NULL) {
        steal_fd(&fd);
    }
    return directory;
}

/* The next folder, NULL at the end. Links and files are none. */
static const char *next_folder(DIR *directory) {
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        struct stat status;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode)) {
            return entry->d_name;
        }
    }
    return NULL;
}

/* The folders `depth` levels below `name`. One that is not there has none. */
static bool walk_below(const struct walk *walk, int parent, const char *name, const char *path, int depth,
                       enum gc_folder_kind kind, struct error *err) {
    cleanup_directory DIR *directory = open_folder(parent, name);
    const char *entry = NULL;
    bool ok = true;
    if (directory == NULL) {
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, "look into `%s`", path);
    }
    while (ok && (entry = next_folder(directory)) != NULL) {
        char below[NAME_FOLDER_SIZE];
        int length = snprintf(below, sizeof below, "%s/%s", path, entry);
        if (length < 0 || (size_t)length >= sizeof below) {
            continue; /* none of ours is that long */
        }
        ok = depth > 1 ? walk_below(walk, dirfd(directory), entry, below, depth - 1, kind, err)
                       : walk->each(walk->argument, kind, below, err);
    }
    return ok;
}

bool gc_folders_each(const char *data_dir,
                     bool (*each)(void *argument, enum gc_folder_kind kind, const char *name, struct error *err),
                     void *argument, struct error *err) {
    static const struct {
        const char *name;
        int depth;
        enum gc_folder_kind kind;
    } groups[] = {
        {".policies", 2, GC_FOLDER_HOME},
        {".contexts", 2, GC_FOLDER_HOME},
        {".trash", 1, GC_FOLDER_TRASH},
        {".warm", 1, GC_FOLDER_WARM},
    };
    const struct walk walk = {each, argument};
    cleanup_close int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_directory DIR *directory = fd < 0 ? NULL : open_folder(fd, ".");
    const char *entry = NULL;
    bool ok = true;
    if (directory == NULL) {
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, "look into `%s`", data_dir);
    }
    while (ok && (entry = next_folder(directory)) != NULL) {
        if (entry[0] != '.') {
            ok = each(argument, GC_FOLDER_HOME, entry, err);
        } else if (strncmp(entry, REPLACED_PREFIX, strlen(REPLACED_PREFIX)) == 0) {
            ok = each(argument, GC_FOLDER_REPLACED, entry, err);
        }
    }
    for (size_t i = 0; ok && i < sizeof groups / sizeof groups[0]; i++) {
        ok = walk_below(&walk, fd, groups[i].name, groups[i].name, groups[i].depth, groups[i].kind, err);
    }
    return ok;
}
