#include "provisioner/restore_move.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/remove_tree.h"

#define HOMES     RESTORE_FOLDER "/homes"
#define EMPTIED   RESTORE_FOLDER "/emptied" /* all that was there has been put aside */
#define REPLACED  ".replaced-"
#define MARK      ".deployment" /* of the backend `docker` */
#define NAME_SIZE 64

struct move {
    int data; /* the data folder */
    char replaced[NAME_SIZE];
};

static void cleanup_closedir(DIR **directory) {
    if (*directory != NULL) {
        closedir(*directory);
    }
}
#define cleanup_directory __attribute__((cleanup(cleanup_closedir)))

static int open_data(const char *data_dir, struct error *err) {
    int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open the data folder `%s`", data_dir);
    }
    return fd;
}

static DIR *open_folder(int parent, const char *name) {
    cleanup_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory != NULL) {
        steal_fd(&fd);
    }
    return directory;
}

static bool exists(int parent, const char *name) {
    return faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- the journal -------------------------------------------------------------------------------------------------- */

int restore_journal_read(const char *data_dir, char id[RESTORE_ID_SIZE], char time[RESTORE_ID_SIZE],
                         struct error *err) {
    char path[4096];
    char text[128] = "";
    snprintf(path, sizeof path, "%s/" RESTORE_FOLDER "/" RESTORE_JOURNAL, data_dir);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return 0;
    }
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) {
        error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
        return -1;
    }
    if (sscanf(text, "%36s %36s", id, time) != 2 || strchr(time, '/') != NULL) {
        error_set(err, ERROR_INTERNAL, "`%s` does not say which restore it is of", path);
        return -1;
    }
    return 1;
}

bool restore_journal_remove(const char *data_dir, struct error *err) {
    cleanup_close int data = open_data(data_dir, err);
    return data >= 0 &&
           (unlinkat(data, RESTORE_FOLDER "/" RESTORE_JOURNAL, 0) == 0 || errno == ENOENT ||
            error_set_errno(err, ERROR_INTERNAL, "remove `%s/" RESTORE_FOLDER "/" RESTORE_JOURNAL "`", data_dir)) &&
           (fsync(data) == 0 || error_set_errno(err, ERROR_INTERNAL, "write `%s` to the disk", data_dir));
}

/* --- moving ------------------------------------------------------------------------------------------------------- */

/* Users' folders, and those of policies and contexts. What is not a folder is somebody else's, and stays; so does what
 * belongs to this data folder and to no user. */
static bool is_put_aside(const struct move *move, const char *name) {
    struct stat status;
    if (strcmp(name, MARK) == 0) {
        return exists(move->data, HOMES "/" MARK);
    }
    if (fstatat(move->data, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)) {
        return false;
    }
    return name[0] != '.' || strcmp(name, ".policies") == 0 || strcmp(name, ".contexts") == 0;
}

static bool put_aside(const struct move *move, struct error *err) {
    cleanup_directory DIR *directory = open_folder(move->data, ".");
    cleanup_close int into = openat(move->data, move->replaced, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct dirent *entry = NULL;
    if (directory == NULL || into < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open what is to be put aside");
    }
    while ((entry = readdir(directory)) != NULL) {
        if (is_put_aside(move, entry->d_name) && renameat(move->data, entry->d_name, into, entry->d_name) != 0) {
            return error_set_errno(err, ERROR_INTERNAL, "put `%s` aside", entry->d_name);
        }
    }
    return true;
}

static bool move_in(const struct move *move, struct error *err) {
    cleanup_directory DIR *directory = open_folder(move->data, HOMES);
    struct dirent *entry = NULL;
    if (directory == NULL) {
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, "open what was unpacked");
    }
    while ((entry = readdir(directory)) != NULL) {
        bool is_itself = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!is_itself && renameat(dirfd(directory), entry->d_name, move->data, entry->d_name) != 0) {
            return error_set_errno(err, ERROR_INTERNAL, "move `%s` into its place", entry->d_name);
        }
    }
    return true;
}

static bool make_emptied(const struct move *move, struct error *err) {
    cleanup_close int fd = openat(move->data, EMPTIED, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return (fd >= 0 && fsync(fd) == 0 && fsync(move->data) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "note that the data folder is empty");
}

static bool move_homes(const struct move *move, struct error *err) {
    if (mkdirat(move->data, move->replaced, 0700) != 0 && errno != EEXIST) {
        return error_set_errno(err, ERROR_INTERNAL, "make `%s`", move->replaced);
    }
    if (exists(move->data, HOMES) && !exists(move->data, EMPTIED) &&
        (!put_aside(move, err) || !make_emptied(move, err))) {
        return false;
    }
    return move_in(move, err);
}

/* The journal goes before what it is about. */
static bool clear_up(const struct move *move, const char *data_dir, struct error *err) {
    static const atomic_bool never = false;
    if (!restore_journal_remove(data_dir, err)) {
        return false;
    }
    unlinkat(move->data, move->replaced, AT_REMOVEDIR); /* only if there was nothing to put aside */
    cleanup_close int left = openat(move->data, RESTORE_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return left >= 0 && remove_tree_contents(left, &never, err) &&
           (unlinkat(move->data, RESTORE_FOLDER, AT_REMOVEDIR) == 0 ||
            error_set_errno(err, ERROR_INTERNAL, "remove `%s/" RESTORE_FOLDER "`", data_dir));
}

bool restore_move(const char *data_dir, const char *time, struct error *err) {
    cleanup_close int data = open_data(data_dir, err);
    struct move move = {.data = data};
    if (data < 0) {
        return false;
    }
    snprintf(move.replaced, sizeof move.replaced, REPLACED "%s", time);
    return move_homes(&move, err) &&
           (syncfs(data) == 0 || error_set_errno(err, ERROR_INTERNAL, "write `%s` to the disk", data_dir)) &&
           clear_up(&move, data_dir, err);
}
