#include "provisioner/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/database_dump.h"
#include "provisioner/key_file.h"
#include "provisioner/migrations.h"
#include "provisioner/restore_move.h"

/* Where provisioner.c has the key; `folder` NULL: the database is no file. The caller frees it. */
static char *key_path(const struct settings *settings, const char *folder, struct error *err) {
    char *path = NULL;
    int length = folder != NULL ? asprintf(&path, "%s/encryption.key", folder)
                                : asprintf(&path, "%s/../encryption.key", settings->run_dir);
    if (length < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return path;
}

/* --- backup ------------------------------------------------------------------------------------------------------- */

static FILE *create_in(const char *folder, const char *name, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    if (!buffer_append_format(&path, "%s/%s", folder, name)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    cleanup_close int fd = open(path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        error_set_errno(err, ERROR_INTERNAL, "create `%s`", path.data);
        return NULL;
    }
    steal_fd(&fd);
    return file;
}

static bool close_file(FILE *file, bool ok, struct error *err) {
    return fclose(file) == 0 ? ok : ok && error_set_errno(err, ERROR_INTERNAL, "write the backup");
}

/* Without a key file there is nothing to take: the key is in the settings, whose keeper knows it. */
static bool back_up_key(const struct settings *settings, const struct database *database, const char *folder,
                        struct error *err) {
    cleanup_free char *from = key_path(settings, database_folder(database), err);
    cleanup_secret char *key = NULL;
    cleanup_buffer struct buffer keys = {0};
    if (from == NULL || settings->encryption_key != NULL) {
        return from != NULL;
    }
    int found = key_file_read(from, &key, err);
    if (found <= 0) {
        return found == 0;
    }
    if (!buffer_append_format(&keys, "%s/keys", folder)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (mkdir(keys.data, 0700) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "make `%s`", keys.data);
    }
    FILE *file = create_in(keys.data, "encryption.key", err);
    if (file == NULL) {
        return false;
    }
    bool ok = fprintf(file, "%s\n", key) > 0 || error_set_errno(err, ERROR_INTERNAL, "write the key");
    return close_file(file, ok, err);
}

bool backup_run(const struct settings *settings, const char *folder, bool with_keys, struct error *err) {
    struct database *database =
        database_open(settings->database_url, settings->database_password, DATABASE_SHARED, err);
    FILE *file = database == NULL ? NULL : create_in(folder, "database.jsonl", err);
    bool ok = file != NULL && close_file(file, database_dump(database, file, err), err) &&
              (!with_keys || back_up_key(settings, database, folder, err));
    database_close(database);
    return ok;
}

/* --- restore ------------------------------------------------------------------------------------------------------ */

/* Asks before the lock is waited for, which a node that leads keeps. */
static bool has_no_nodes(const struct settings *settings, struct error *err) {
    if (strncmp(settings->database_url, "postgres", strlen("postgres")) != 0) {
        return true;
    }
    struct database *database =
        database_open(settings->database_url, settings->database_password, DATABASE_SHARED, err);
    bool ok = database != NULL && database_has_no_nodes(database, err);
    database_close(database);
    return ok;
}

/* As an owner: on PostgreSQL no provisioner of another machine leads meanwhile, whenever it comes. */
static struct database *open_to_load(const struct settings *settings, bool force, struct error *err) {
    if (!has_no_nodes(settings, err)) {
        return NULL;
    }
    struct database *database = database_open(settings->database_url, settings->database_password, DATABASE_OWNED, err);
    if (database != NULL && !(database_has_no_nodes(database, err) && database_may_load(database, force, err))) {
        database_close(database);
        return NULL;
    }
    return database;
}

bool restore_check(const struct settings *settings, bool force, struct error *err) {
    struct database *database = open_to_load(settings, force, err);
    database_close(database);
    return database != NULL;
}

static bool load(struct database *database, const struct settings *settings, const char *id, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    if (!buffer_append_format(&path, "%s/" RESTORE_FOLDER "/database.jsonl", settings->data_dir)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_fclose FILE *file = fopen(path.data, "re");
    if (file == NULL) {
        return error_set_errno(err, ERROR_INTERNAL, "open `%s`", path.data);
    }
    return database_load(database, file, id, err);
}

static bool write_key(const char *path, const char *text, struct error *err) {
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return (fd >= 0 && dprintf(fd, "%s\n", text) > 0 && fsync(fd) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
}

static bool has_next_key(const char *key) {
    struct error ignored;
    cleanup_free char *next = key_file_next(key, &ignored);
    return next != NULL && access(next, F_OK) == 0;
}

/* The key that is there, beside the folders that are put aside. */
static bool keep_old_key(const struct settings *settings, const char *old_key, const char *time, struct error *err) {
    cleanup_buffer struct buffer folder = {0};
    cleanup_buffer struct buffer file = {0};
    if (!buffer_append_format(&folder, "%s/.replaced-%s", settings->data_dir, time) ||
        !buffer_append_format(&file, "%s/encryption.key", folder.data)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (mkdir(folder.data, 0700) != 0 && errno != EEXIST) {
        return error_set_errno(err, ERROR_INTERNAL, "make `%s`", folder.data);
    }
    return write_key(file.data, old_key, err);
}

/* Puts the backup's key, if there is one, where a key waits for the database that was written with it (vault.h), and
 * keeps the old one. `key` is the key's place. */
static bool bring_key(const struct settings *settings, const char *key, const char *time, struct error *err) {
    cleanup_buffer struct buffer from = {0};
    cleanup_secret char *new_key = NULL;
    cleanup_secret char *old_key = NULL;
    cleanup_free char *next = key_file_next(key, err);
    if (next == NULL || !buffer_append_format(&from, "%s/" RESTORE_FOLDER "/keys/encryption.key", settings->data_dir)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (key_file_read(from.data, &new_key, err) < 0 || key_file_read(key, &old_key, err) < 0) {
        return false;
    }
    if (new_key == NULL || secret_equals(new_key, old_key)) {
        return true;
    }
    return (old_key == NULL || keep_old_key(settings, old_key, time, err)) && write_key(next, new_key, err);
}

/* Keeps what is in the database now, beside the folders that are put aside. */
static bool keep_old(struct database *database, const struct settings *settings, const char *time, struct error *err) {
    cleanup_buffer struct buffer folder = {0};
    struct error empty = {0};
    if (database_may_load(database, false, &empty)) {
        return true; /* there is nothing in it */
    }
    if (!buffer_append_format(&folder, "%s/.replaced-%s", settings->data_dir, time)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (mkdir(folder.data, 0700) != 0 && errno != EEXIST) {
        return error_set_errno(err, ERROR_INTERNAL, "make `%s`", folder.data);
    }
    FILE *file = create_in(folder.data, "database.jsonl", err);
    if (file == NULL) {
        return false;
    }
    bool ok = database_dump(database, file, err) &&
              ((fflush(file) == 0 && fsync(fileno(file)) == 0) ||
               error_set_errno(err, ERROR_INTERNAL, "write `%s/database.jsonl`", folder.data));
    return close_file(file, ok, err);
}

/* 1: the database has this restore's content, 0: it has not, -1: nobody knows now. */
static int is_committed(struct database *database, const char *id) {
    struct error err = {0};
    size_t length = 0;
    int version = migrations_current(database, &err);
    if (version <= 0) {
        return version; /* no tables yet */
    }
    struct database_statement *statement =
        database_prepare(database, "SELECT value FROM properties WHERE name = '" DATABASE_RESTORE_ID "'", &err);
    int stepped = statement == NULL ? -1 : database_step(statement, &err);
    const void *value = stepped == 1 ? database_blob(statement, 0, &length) : NULL;
    int result = stepped < 0 ? -1 : value != NULL && length == strlen(id) && memcmp(value, id, length) == 0;
    database_statement_free(statement);
    return result;
}

bool restore_run(const struct settings *settings, bool force, struct error *err) {
    char id[RESTORE_ID_SIZE];
    char time[RESTORE_ID_SIZE];
    int found = restore_journal_read(settings->data_dir, id, time, err);
    if (found <= 0) {
        return found == 0 && error_set(err, ERROR_INVALID, "nothing was unpacked to be restored");
    }
    struct database *database = open_to_load(settings, force, err);
    if (database == NULL) {
        restore_journal_remove(settings->data_dir, &(struct error){0}); /* nothing has come of it */
        return false;
    }
    cleanup_free char *key = key_path(settings, database_folder(database), err);
    bool ok = key != NULL && keep_old(database, settings, time, err) && bring_key(settings, key, time, err) &&
              load(database, settings, id, err);
    if (!ok && is_committed(database, id) == 0) {
        restore_journal_remove(settings->data_dir, &(struct error){0});
    }
    /* The key that waits is the right one now; if we are killed here, the next start finds it out (vault.h). */
    ok = ok && (!has_next_key(key) || key_file_replace(key, err)) &&
         (restore_move(settings->data_dir, time, err) ||
          error_prefix(err, "the database is restored, and the next start moves the folders"));
    database_close(database); /* not before: a node that leads would move the folders, too */
    return ok;
}

bool restore_recover(struct store *store, const struct settings *settings, struct error *err) {
    char id[RESTORE_ID_SIZE];
    char time[RESTORE_ID_SIZE];
    void *value = NULL;
    size_t length = 0;
    int found = restore_journal_read(settings->data_dir, id, time, err);
    if (found <= 0) {
        return found == 0;
    }
    int known = store_get_property(store, DATABASE_RESTORE_ID, &value, &length, err);
    bool is_committed = known > 0 && length == strlen(id) && memcmp(value, id, length) == 0;
    free(value);
    if (known < 0) {
        return false;
    }
    if (!is_committed) {
        log_warning(NULL, "a restore was begun and changed nothing: do it again, or leave it");
        return restore_journal_remove(settings->data_dir, err);
    }
    log_info(NULL, "finishing a restore that was interrupted");
    return restore_move(settings->data_dir, time, err);
}
