#include "cli/db_revision.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

#define SLUG_MAX    60
#define VERSION_MAX 998

static const char *const dialects[] = {"sqlite", "postgres"};
#define DIALECTS (sizeof dialects / sizeof dialects[0])

/* "Add quotas, per user" as "add_quotas_per_user". */
static bool make_slug(const char *message, char slug[SLUG_MAX + 1]) {
    size_t length = 0;
    for (; *message != '\0' && length < SLUG_MAX; message++) {
        char c = (char)(*message >= 'A' && *message <= 'Z' ? *message - 'A' + 'a' : *message);
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (is_plain) {
            slug[length++] = c;
        } else if (length > 0 && slug[length - 1] != '_') {
            slug[length++] = '_';
        }
    }
    while (length > 0 && slug[length - 1] == '_') {
        length--;
    }
    slug[length] = '\0';
    return length > 0;
}

/* The highest number of a file in `sql/dialect`; -1 with *err. */
static int highest(const char *folder, const char *dialect, struct error *err) {
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/sql/%s", folder, dialect) < 0) {
        path = NULL;
        error_set(err, ERROR_INTERNAL, "no memory");
        return -1;
    }
    DIR *directory = opendir(path);
    if (directory == NULL) {
        error_set_errno(err, ERROR_INVALID, "open `%s` (run this in the source tree)", path);
        return -1;
    }
    int found = 0;
    for (const struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char *end = NULL;
        long number = strtol(entry->d_name, &end, 10);
        found = *end == '_' && number > found && number <= VERSION_MAX ? (int)number : found;
    }
    closedir(directory);
    return found;
}

static bool write_file(const char *path, const char *message, struct error *err) {
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || dprintf(fd, "-- %s\n", message) < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
    }
    puts(path);
    return true;
}

bool db_revision(const char *folder, const char *message, struct error *err) {
    char slug[SLUG_MAX + 1];
    int last = 0;
    if (strpbrk(message, "\n\r") != NULL || !make_slug(message, slug)) {
        return error_set(err, ERROR_INVALID, "the message must be one line with a letter or a digit in it");
    }
    for (size_t i = 0; i < DIALECTS; i++) {
        int found = highest(folder, dialects[i], err);
        if (found < 0) {
            return false;
        }
        last = found > last ? found : last;
    }
    for (size_t i = 0; i < DIALECTS; i++) {
        cleanup_free char *path = NULL;
        if (asprintf(&path, "%s/sql/%s/%03d_%s.sql", folder, dialects[i], last + 1, slug) < 0) {
            path = NULL;
            return error_set(err, ERROR_INTERNAL, "no memory");
        }
        if (!write_file(path, message, err)) {
            return false;
        }
    }
    return true;
}
