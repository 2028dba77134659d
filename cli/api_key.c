#include "cli/api_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/folders.h"
#include "common/cleanup.h"
#include "common/digest.h"
#include "common/secret.h"
#include "common/write_whole.h"

#define KEY_BYTES      32
#define KEY_HEX_LENGTH (2 * (size_t)KEY_BYTES)
#define FILE_NAME      "api.key"

char *api_key_path(const struct settings *settings) {
    const char *url = settings->database_url;
    const char *path = strstr(url, ":///");
    char *result = NULL;
    int length = -1;
    if (strncmp(url, "sqlite", 6) == 0 && path != NULL) {
        path += strlen(":///");
        const char *slash = strrchr(path, '/');
        length = asprintf(&result, "%.*s%s", slash == NULL ? 0 : (int)(slash - path + 1), path, FILE_NAME);
    } else {
        length = asprintf(&result, "%s/%s", settings->data_dir, FILE_NAME);
    }
    return length < 0 ? NULL : result;
}

/* NULL without an error: there is no such file. */
static char *read_key(const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        if (errno != ENOENT) {
            error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
        }
        return NULL;
    }
    cleanup_secret char *key = calloc(1, KEY_HEX_LENGTH + 2);
    ssize_t length = key == NULL ? -1 : read(fd, key, KEY_HEX_LENGTH + 1);
    if (length < (ssize_t)KEY_HEX_LENGTH || strspn(key, "0123456789abcdef") != KEY_HEX_LENGTH) {
        error_set(err, ERROR_INVALID, "`%s` holds no key: remove it to have another made", path);
        return NULL;
    }
    key[KEY_HEX_LENGTH] = '\0';
    return steal_pointer(&key);
}

/* link(2) rather than rename(2): of two that start at once, both end up with the key of the first. */
static bool keep(const char *path, const char *key, struct error *err) {
    cleanup_free char *draft = NULL;
    if (asprintf(&draft, "%s.%d", path, (int)getpid()) < 0) {
        draft = NULL;
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    cleanup_close int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "create `%s`", draft);
    }
    bool kept = fchmod(fd, 0600) == 0 && write_whole(fd, key, strlen(key)) && write_whole(fd, "\n", 1) &&
                fsync(fd) == 0 && (link(draft, path) == 0 || errno == EEXIST);
    if (!kept) {
        error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
    }
    unlink(draft);
    return kept;
}

char *api_key_load(const char *path, struct error *err) {
    *err = (struct error){0};
    return read_key(path, err);
}

char *api_key_load_or_create(const char *path, struct error *err) {
    char made[KEY_HEX_LENGTH + 1];
    char *key = api_key_load(path, err);
    if (key != NULL || err->code != ERROR_NONE) {
        return key;
    }
    if (!digest_random_hex(KEY_BYTES, made)) {
        error_set(err, ERROR_INTERNAL, "no random bytes for a key");
        return NULL;
    }
    if (folders_make_parent(path, err) && keep(path, made, err)) {
        key = read_key(path, err);
    }
    explicit_bzero(made, sizeof made);
    return key;
}
