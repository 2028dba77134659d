/* backup.c - `terminals backup`: the database as of one moment, then the folders; Terminals may be running. */
#include "cli/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/api_key.h"
#include "cli/backup_file.h"
#include "cli/command_line.h"
#include "cli/folders.h"
#include "cli/provisioner_program.h"
#include "common/cleanup.h"
#include "common/secret.h"
#include "common/settings.h"

#define OUTPUT_MAX_BYTES 65536

static const char usage[] =
    "usage: terminals backup FILE | FOLDER [--with-keys] [--no-folders]\n"
    "\n"
    "Writes the database and users' folders into FILE, or into a new file in FOLDER. Terminals may be running.\n"
    "\n"
    "  --with-keys   also the encryption key and the API key that Terminals has generated. Without them the instance "
    "keys\n"
    "                in the database cannot be read: keep the encryption key elsewhere\n"
    "  --no-folders  the database only\n";

struct options {
    const char *target;
    bool with_keys;
    bool no_folders;
};

/* Where it is made: a folder beside the file, which takes its name in the end. */
struct workplace {
    char *file;   /* the backup's name */
    char *folder; /* `.terminals-backup.XXXXXX` */
};

static void workplace_clear(struct workplace *place) {
    static const char *const names[] = {"database.jsonl", "keys/encryption.key", "keys/api.key", "archive", "list"};
    for (size_t i = 0; place->folder != NULL && i < sizeof names / sizeof names[0]; i++) {
        cleanup_free char *path = NULL;
        if (asprintf(&path, "%s/%s", place->folder, names[i]) >= 0) {
            unlink(path);
        } else {
            path = NULL;
        }
    }
    cleanup_free char *keys = NULL;
    if (place->folder != NULL && asprintf(&keys, "%s/keys", place->folder) >= 0) {
        rmdir(keys);
        rmdir(place->folder);
    }
    free(place->file);
    free(place->folder);
}

/* In a folder the file gets the time as its name. */
static bool choose_file(struct workplace *place, const char *target, struct error *err) {
    struct stat status;
    char name[64];
    time_t now = time(NULL);
    struct tm utc;
    if (stat(target, &status) != 0 || !S_ISDIR(status.st_mode)) {
        place->file = strdup(target);
        return place->file != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
    }
    strftime(name, sizeof name, "terminals-%Y%m%dT%H%M%SZ.tar", gmtime_r(&now, &utc));
    place->file = folders_path(target, name, err);
    return place->file != NULL;
}

static bool make_workplace(struct workplace *place, const char *target, struct error *err) {
    if (!choose_file(place, target, err)) {
        return false;
    }
    if (access(place->file, F_OK) == 0) {
        return error_set(err, ERROR_CONFLICT, "`%s` is there already", place->file);
    }
    const char *slash = strrchr(place->file, '/');
    int length = slash == NULL ? 1 : (int)(slash - place->file);
    if (asprintf(&place->folder, "%.*s/.terminals-backup.XXXXXX", length, slash == NULL ? "." : place->file) < 0) {
        place->folder = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (mkdtemp(place->folder) == NULL) {
        error_set_errno(err, ERROR_INVALID, "make a folder beside `%s`", place->file);
        free(steal_pointer(&place->folder));
        return false;
    }
    return true;
}

static bool dump_database(const struct workplace *place, const struct options *options, struct error *err) {
    cleanup_buffer struct buffer output = {0};
    int status = 0;
    const char *const arguments[] = {"--backup", place->folder, options->with_keys ? "keys" : NULL, NULL};
    return provisioner_run(arguments, -1, OUTPUT_MAX_BYTES, &output, &status, err) &&
           (status == 0 || error_set(err, ERROR_BACKEND, "the database cannot be read"));
}

/* The one that `terminals serve` has made, if it has. */
static bool add_api_key(const struct settings *settings, const struct workplace *place, struct error *err) {
    cleanup_free char *from = api_key_path(settings);
    cleanup_free char *folder = folders_path(place->folder, "keys", err);
    cleanup_free char *to = folders_path(place->folder, "keys/api.key", err);
    if (from == NULL || folder == NULL || to == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_secret char *key = settings->api_key == NULL ? api_key_load(from, err) : NULL;
    if (key == NULL) {
        return err->code == ERROR_NONE;
    }
    mkdir(folder, 0700); /* it is there if there is an encryption key too */
    cleanup_close int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return (fd >= 0 && dprintf(fd, "%s\n", key) > 0) || error_set_errno(err, ERROR_INTERNAL, "write `%s`", to);
}

/* Is this entry of the data folder a user's? Everything of users is in folders; what else lies there is being removed,
 * nobody's, or a secret. `.deployment` says whose containers an engine has. */
static bool is_backed_up(int data, const char *name) {
    struct stat status;
    if (fstatat(data, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return false;
    }
    return name[0] != '.'
               ? S_ISDIR(status.st_mode)
               : strcmp(name, ".policies") == 0 || strcmp(name, ".contexts") == 0 || strcmp(name, ".deployment") == 0;
}

static bool write_names(int data, FILE *list, struct error *err) {
    DIR *directory = fdopendir(data);
    struct dirent *entry = NULL;
    bool ok = directory != NULL;
    while (ok && (entry = readdir(directory)) != NULL) {
        ok = !is_backed_up(data, entry->d_name) || fprintf(list, "./%s%c", entry->d_name, '\0') > 0;
    }
    if (!ok) {
        error_set_errno(err, ERROR_INTERNAL, "list the data folder");
    }
    if (directory != NULL) {
        closedir(directory);
    } else {
        close(data);
    }
    return ok;
}

/* The folders that there are, for tar; none if there is no data folder yet. */
static bool list_folders(const struct settings *settings, const struct options *options, const char *path,
                         struct error *err) {
    FILE *list = fopen(path, "wex");
    if (list == NULL) {
        return error_set_errno(err, ERROR_INTERNAL, "create `%s`", path);
    }
    int data = options->no_folders ? -1 : open(settings->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = data >= 0 ? write_names(data, list, err)
                        : options->no_folders || errno == ENOENT ||
                              error_set_errno(err, ERROR_INTERNAL, "open the data folder `%s`", settings->data_dir);
    return fclose(list) == 0 ? ok : ok && error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
}

/* Users may forbid reading their files, also to a service that runs as they do: told, and left out. `./alice` becomes
 * `homes/alice`, also where a hard link says it, not where a symbolic one does. */
#define TAR_OPTIONS                                                                                                    \
    "--create", "--file=-", "--format=posix", "--numeric-owner", "--xattrs", "--acls", "--sparse",                     \
        "--ignore-failed-read", "--transform=s,^\\./,homes/,S"

static bool write_archive(const struct settings *settings, const struct options *options, const struct workplace *place,
                          bool *changed, struct error *err) {
    cleanup_free char *path = folders_path(place->folder, "archive", err);
    cleanup_free char *list = folders_path(place->folder, "list", err);
    cleanup_free char *from = NULL;
    cleanup_free char *keys = folders_path(place->folder, "keys", err);
    cleanup_free char *folder = realpath(place->folder, NULL);
    cleanup_free char *data = realpath(settings->data_dir, NULL);
    if (path == NULL || list == NULL || keys == NULL || folder == NULL ||
        asprintf(&from, "--files-from=%s/list", folder) < 0) {
        from = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!list_folders(settings, options, list, err)) {
        return false;
    }
    bool has_keys = access(keys, F_OK) == 0;
    const char *const arguments[] = {TAR_OPTIONS, "-C", folder, "database.jsonl",
                                     /* the next -C counts from this one */
                                     "-C", data == NULL ? "." : data, "--null", "--verbatim-files-from", from,
                                     has_keys ? "-C" : NULL, folder, "--no-null", "keys", NULL};
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "create `%s`", path);
    }
    return backup_file_write(fd, arguments, changed, err) &&
           (renameat2(AT_FDCWD, path, AT_FDCWD, place->file, RENAME_NOREPLACE) == 0 ||
            error_set_errno(err, ERROR_INTERNAL, "name the backup `%s`", place->file));
}

/* That the name is on the disk too. */
static bool sync_folder(const struct workplace *place, struct error *err) {
    cleanup_free char *parent = folders_path(place->folder, "..", err);
    cleanup_close int fd = parent == NULL ? -1 : open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return (fd >= 0 && fsync(fd) == 0) || error_set_errno(err, ERROR_INTERNAL, "write the backup to the disk");
}

static bool make_backup(const struct settings *settings, const struct options *options, struct error *err) {
    __attribute__((cleanup(workplace_clear))) struct workplace place = {0};
    struct stat status;
    bool changed = false;
    if (!make_workplace(&place, options->target, err) || !dump_database(&place, options, err) ||
        (options->with_keys && !add_api_key(settings, &place, err)) ||
        !write_archive(settings, options, &place, &changed, err) || !sync_folder(&place, err)) {
        return false;
    }
    printf("%s\nbytes=%lld changed_while_read=%s keys=%s\n", place.file,
           stat(place.file, &status) == 0 ? (long long)status.st_size : -1LL, changed ? "yes" : "no",
           options->with_keys ? "inside" : "not inside");
    return true;
}

int backup(int argc, char **argv) {
    struct options options = {0};
    struct settings settings = {0};
    struct error err = {0};
    const struct command_argument arguments[] = {{"--with-keys", .flag = &options.with_keys},
                                                 {"--no-folders", .flag = &options.no_folders},
                                                 {.value = &options.target},
                                                 {0}};
    int status = EXIT_SUCCESS;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    if (options.target == NULL) {
        return command_line_refuse(usage);
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    bool ok = settings_load(&settings, NULL, &err);
    if (ok) {
        ok = make_backup(&settings, &options, &err);
        settings_free(&settings);
    }
    if (!ok) {
        fprintf(stderr, "terminals backup: %s\n", err.message);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
