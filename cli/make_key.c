#include "cli/make_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/api_key.h"
#include "common/cleanup.h"
#include "common/secret.h"

#define UID_MAX 4294967294UL /* the last one means: nobody in particular */

static bool parse_uid(const char *text, uid_t *uid) {
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    *uid = (uid_t)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && number <= UID_MAX;
}

/* The folder may have been there before us, open to everybody: Docker makes what it is to mount. */
static bool give(const char *path, mode_t mode, uid_t owner, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
    }
    bool is_given = (status.st_uid == owner && status.st_gid == owner) || fchown(fd, owner, owner) == 0;
    return (is_given && ((status.st_mode & 07777) == mode || fchmod(fd, mode) == 0)) ||
           error_set_errno(err, ERROR_INTERNAL, "give `%s` to user %lu", path, (unsigned long)owner);
}

static bool make_one(const char *path, uid_t owner) {
    struct error err = {0};
    cleanup_secret char *key = api_key_load_or_create(path, &err);
    cleanup_free char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
    if (folder == NULL) {
        error_set(&err, ERROR_INTERNAL, "no memory");
    }
    if (key == NULL || folder == NULL || !give(path, 0600, owner, &err) ||
        (folder[0] != '\0' && !give(folder, 0700, owner, &err))) {
        fprintf(stderr, "terminals make-key: %s\n", err.message);
        return false;
    }
    printf("The key is in %s\n", path);
    return true;
}

int make_key(int argc, char **argv) {
    uid_t owner = 0;
    bool understood = argc >= 3 && argc % 2 == 1;
    for (int i = 1; understood && i < argc; i += 2) {
        understood = argv[i][0] == '/' && parse_uid(argv[i + 1], &owner);
    }
    if (!understood) {
        fputs("usage: terminals make-key /ABSOLUTE/FILE UID [/ANOTHER UID]...\n", stderr);
        return 2;
    }
    bool ok = true;
    for (int i = 1; ok && i < argc; i += 2) {
        ok = parse_uid(argv[i + 1], &owner) && make_one(argv[i], owner);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
