/* restore.c - `terminals restore`: checks the backup, unpacks it beside what is there, and has the provisioner's
 * program put it in the place of that (provisioner/restore.h says how that survives a kill). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/api_key.h"
#include "cli/backup.h"
#include "cli/backup_file.h"
#include "cli/command_line.h"
#include "cli/folders.h"
#include "cli/provisioner_program.h"
#include "common/cleanup.h"
#include "common/digest.h"
#include "common/remove_tree.h"
#include "common/secret.h"
#include "common/settings.h"

#define OUTPUT_MAX_BYTES 65536
#define STAGE            ".restore"

static const char usage[] =
    "usage: terminals restore FILE [--force] | --verify FILE\n"
    "\n"
    "Puts the database and the folders of a backup in their places. Terminals must be stopped, and there must be no\n"
    "tenants and no users' files yet.\n"
    "\n"
    "  --force   even if there are: the old folders are kept in `.replaced-<time>` of the data folder, and so is a\n"
    "            backup of the old database\n"
    "  --verify  only checks that the backup is whole\n";

struct options {
    const char *file;
    bool force;
    bool verify;
};

/* --- may it be? --------------------------------------------------------------------------------------------------- */

/* The provisioner's own lock: none starts meanwhile, and none runs. -1 with *err. */
static int lock_run_folder(const struct settings *settings, struct error *err) {
    if (!folders_make(settings->run_dir, err)) {
        return -1;
    }
    cleanup_free char *path = folders_path(settings->run_dir, "provisioner.lock", err);
    cleanup_close int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open `%s`", path == NULL ? "" : path);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            error_set(err, ERROR_CONFLICT, "Terminals runs in `%s`: stop it first", settings->run_dir);
        } else {
            error_set_errno(err, ERROR_INTERNAL, "lock `%s`", path);
        }
        return -1;
    }
    return steal_fd(&fd);
}

/* No user's folder yet: those start with no dot, but for `.policies` and `.contexts`. */
static bool check_homes(const struct settings *settings, struct error *err) {
    DIR *directory = opendir(settings->data_dir);
    struct dirent *entry = NULL;
    struct stat status;
    bool is_empty = true;
    if (directory == NULL) {
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, "open the data folder `%s`", settings->data_dir);
    }
    while (is_empty && (entry = readdir(directory)) != NULL) {
        bool is_users = entry->d_name[0] != '.' || strcmp(entry->d_name, ".policies") == 0 ||
                        strcmp(entry->d_name, ".contexts") == 0;
        is_empty = !is_users || fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
                   !S_ISDIR(status.st_mode);
    }
    if (!is_empty) {
        error_set(err, ERROR_CONFLICT, "the data folder `%s` has users' files (`%.100s`): --force puts them aside",
                  settings->data_dir, entry->d_name);
    }
    closedir(directory);
    return is_empty;
}

static bool run_provisioner(const char *flag, bool force, const char *what, struct error *err) {
    cleanup_buffer struct buffer output = {0};
    int status = 0;
    return provisioner_run((const char *const[]){flag, force ? "force" : NULL, NULL}, -1, OUTPUT_MAX_BYTES, &output,
                           &status, err) &&
           (status == 0 || error_set(err, ERROR_BACKEND, "%s", what));
}

static bool check_target(const struct settings *settings, const struct options *options, struct error *err) {
    return (options->force || check_homes(settings, err)) &&
           run_provisioner("--may-restore", options->force, "nothing was changed", err);
}

/* --- unpacking ---------------------------------------------------------------------------------------------------- */

/* Removes what an earlier one left, which has no journal. */
static bool clear_stage(const char *stage, struct error *err) {
    cleanup_free char *journal = folders_path(stage, "journal", err);
    if (journal == NULL) {
        return false;
    }
    if (access(journal, F_OK) == 0) {
        return error_set(err, ERROR_CONFLICT,
                         "a restore was interrupted in its last step: start Terminals, which finishes it, or remove "
                         "`%s` if it is not to be",
                         stage);
    }
    static const atomic_bool never = false;
    cleanup_close int fd = open(stage, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, "open `%s`", stage);
    }
    return remove_tree_contents(fd, &never, err) &&
           (rmdir(stage) == 0 || error_set_errno(err, ERROR_INTERNAL, "remove `%s`", stage));
}

/* Into `<data folder>/.restore`: the same file system, and a name that no user has. */
static bool unpack(int fd, const struct options *options, int64_t length, const char *stage, struct error *err) {
    if (mkdir(stage, 0700) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "make `%s`", stage);
    }
    const char *const arguments[] = {"--extract",
                                     "--file=-",
                                     "--numeric-owner",
                                     "--same-permissions",
                                     "--xattrs",
                                     "--acls",
                                     "--delay-directory-restore",
                                     "--warning=no-timestamp",
                                     "-C",
                                     stage,
                                     NULL};
    return backup_file_read(fd, options->file, length, arguments, err);
}

/* From here on it is to be finished, once the database has this name in it. */
static bool write_journal(const char *stage, struct error *err) {
    char id[37];
    char now[32];
    struct tm utc;
    time_t seconds = time(NULL);
    cleanup_free char *path = folders_path(stage, "journal", err);
    cleanup_free char *draft = folders_path(stage, "journal.draft", err);
    strftime(now, sizeof now, "%Y%m%dT%H%M%SZ", gmtime_r(&seconds, &utc));
    cleanup_close int folder = open(stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (path == NULL || draft == NULL || folder < 0 || !digest_uuid(id)) {
        return error_set(err, ERROR_INTERNAL, "begin the last step");
    }
    cleanup_close int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return (fd >= 0 && dprintf(fd, "%s %s\n", id, now) > 0 && syncfs(folder) == 0 && rename(draft, path) == 0 &&
            fsync(folder) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
}

/* The API key is no part of the state, and put back where there is none. */
static bool put_api_key(const struct settings *settings, const char *key, struct error *err) {
    cleanup_free char *path = api_key_path(settings);
    if (path == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (key == NULL || access(path, F_OK) == 0) {
        return true;
    }
    cleanup_close int fd =
        folders_make_parent(path, err) ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    return (fd >= 0 && dprintf(fd, "%s\n", key) > 0 && fsync(fd) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
}

static bool replace(int fd, const struct settings *settings, const struct options *options, int64_t length,
                    struct error *err) {
    cleanup_free char *stage = folders_path(settings->data_dir, STAGE, err);
    cleanup_free char *key_file = folders_path(settings->data_dir, STAGE "/keys/api.key", err);
    struct error ignored = {0};
    if (stage == NULL || key_file == NULL || !folders_make(settings->data_dir, err) || !clear_stage(stage, err)) {
        return false;
    }
    if (!unpack(fd, options, length, stage, err) || !write_journal(stage, err)) {
        clear_stage(stage, &ignored);
        return false;
    }
    cleanup_secret char *key = api_key_load(key_file, &ignored);
    if (!run_provisioner("--restore", options->force, "the restore did not come to its end", err)) {
        clear_stage(stage, &ignored); /* unless it is to be finished */
        return false;
    }
    return put_api_key(settings, key, err);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static bool run(const struct options *options, struct error *err) {
    struct settings settings = {0};
    cleanup_close int fd = open(options->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERROR_NOT_FOUND, "open `%s`", options->file);
    }
    int64_t length = backup_file_verify(fd, options->file, err);
    if (length < 0 || options->verify) {
        return length >= 0;
    }
    if (!settings_load(&settings, NULL, err)) {
        return false;
    }
    cleanup_close int lock = lock_run_folder(&settings, err);
    bool ok = lock >= 0 && check_target(&settings, options, err) && replace(fd, &settings, options, length, err);
    settings_free(&settings);
    return ok;
}

int restore(int argc, char **argv) {
    struct options options = {0};
    struct error err = {0};
    const struct command_argument arguments[] = {
        {"--force", .flag = &options.force}, {"--verify", .flag = &options.verify}, {.value = &options.file}, {0}};
    int status = EXIT_SUCCESS;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    if (options.file == NULL || (options.force && options.verify)) {
        return command_line_refuse(usage);
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    if (!run(&options, &err)) {
        fprintf(stderr, "terminals restore: %s\n", err.message);
        return EXIT_FAILURE;
    }
    puts(options.verify ? "The backup is whole." : "Restored. Start Terminals.");
    return EXIT_SUCCESS;
}
