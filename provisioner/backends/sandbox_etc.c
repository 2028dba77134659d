#include "provisioner/backends/sandbox_etc.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "common/cleanup.h"
#include "provisioner/backends/copied_folder.h"

#define COPY_FOLDER    "etc"
#define SETTLE_SECONDS 2 /* more than a tick of any file system's clock */

/* What an instance sees of /etc, as glob(7) patterns. When the provisioner runs as root the instance's kernel uid is 0,
 * so file modes protect nothing: only what may be read by everybody belongs here. That leaves out shadow, private keys,
 * machine-id, and configuration in which administrators put passwords (pip.conf, gitconfig, environment, profile.d).
 * A folder of a few files is named by its files, which spares its mount. */
static const char *const visible[] = {
    "alternatives",
    "bash.bashrc",
    "debian_version",
    "fonts/*.conf",
    "fonts/conf.d/*",
    "gai.conf",
    "host.conf",
    "hosts",
    "inputrc",
    "java-*-openjdk/security",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d/*",
    "locale.alias",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "perl/*.p[lm]",
    "perl/Net/*",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "protocols",
    "python3*/*",
    "resolv.conf",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo/*",
    "timezone",
    "vim/*",
};

struct entry {
    char *name; /* below /etc */
    bool is_folder;
    bool is_ours;
    bool is_settled;    /* the original did not change just before it was copied */
    struct stat status; /* the original's, when it was copied */
    uint64_t round;     /* the refresh that saw it last */
    UT_hash_handle hh;
};

struct sandbox_etc {
    char *original;
    struct copied_folder copy;
    uint64_t round;
    struct entry *entries; /* by name, in the order of `visible` */
};

/* --- entries ------------------------------------------------------------------------------------------------------ */

static struct entry *find(const struct sandbox_etc *etc, const char *name) {
    struct entry *entry = NULL;
    HASH_FIND_STR(etc->entries, name, entry);
    return entry;
}

/* The entry of that name, a new one if there is none. NULL with *err. */
static struct entry *find_or_add(struct sandbox_etc *etc, const char *name, struct error *err) {
    struct entry *entry = find(etc, name);
    if (entry != NULL) {
        return entry;
    }
    entry = calloc(1, sizeof *entry);
    char *copy = strdup(name);
    if (entry == NULL || copy == NULL) {
        free(entry);
        free(copy);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    entry->name = copy;
    HASH_ADD_KEYPTR(hh, etc->entries, entry->name, strlen(entry->name), entry);
    return entry;
}

static void forget(struct sandbox_etc *etc, struct entry *entry) {
    HASH_DEL(etc->entries, entry);
    free(entry->name);
    free(entry);
}

/* --- copying ------------------------------------------------------------------------------------------------------ */

static bool is_for_everybody(const struct stat *status) {
    mode_t wanted = S_ISDIR(status->st_mode) ? S_IROTH | S_IXOTH : S_IROTH;
    return (S_ISDIR(status->st_mode) || S_ISREG(status->st_mode)) && (status->st_mode & wanted) == wanted;
}

/* What the machine says of a path that instances shall not see either. Anything else (no descriptor is left, the disk
 * cannot be read) says nothing about it, and its copy stays. */
static bool means_hidden(int number) {
    return number == ENOENT || number == ENOTDIR || number == ELOOP || number == EACCES || number == EPERM;
}

/* A file that changes again within the tick of its time stamp in which it was read shows no trace of that: such a copy
 * is not relied on. */
static bool has_settled(const struct stat *status) {
    return time(NULL) - status->st_ctim.tv_sec >= SETTLE_SECONDS;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_unchanged(const struct entry *entry, const struct stat *status) {
    const struct stat *copied = &entry->status;
    return entry->is_settled && copied->st_dev == status->st_dev && copied->st_ino == status->st_ino &&
           copied->st_mode == status->st_mode && copied->st_size == status->st_size &&
           is_same_time(&copied->st_mtim, &status->st_mtim) && is_same_time(&copied->st_ctim, &status->st_ctim);
}

/* Better an older one than none. */
static void keep(const struct sandbox_etc *etc, struct entry *entry) {
    if (entry != NULL) {
        entry->round = etc->round;
    }
}

static bool refresh_file(struct sandbox_etc *etc, const char *path, const struct stat *status, struct error *err) {
    const char *name = path + strlen(etc->original) + 1;
    struct entry *entry = find(etc, name);
    if (entry != NULL && !entry->is_folder && is_unchanged(entry, status)) {
        entry->round = etc->round;
        return true;
    }
    struct stat opened;
    cleanup_close int from = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (from < 0 || fstat(from, &opened) != 0) {
        if (means_hidden(errno)) {
            return true;
        }
        keep(etc, entry);
        return error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
    }
    if (!S_ISREG(opened.st_mode) || !is_for_everybody(&opened)) {
        return true;
    }
    bool is_settled = has_settled(&opened);
    if ((entry = find_or_add(etc, name, err)) == NULL) {
        return false;
    }
    entry->round = etc->round; /* also if this fails */
    entry->is_folder = false;
    if (!copied_folder_copy(&etc->copy, name, from, err)) {
        return false;
    }
    entry->is_settled = is_settled;
    entry->status = opened;
    return true;
}

static bool refresh_folder(struct sandbox_etc *etc, const char *path, struct error *err) {
    const char *name = path + strlen(etc->original) + 1;
    struct entry *entry = find(etc, name);
    if (entry == NULL || !entry->is_folder) {
        if (!copied_folder_make_empty(&etc->copy, name, err) || (entry = find_or_add(etc, name, err)) == NULL) {
            return false;
        }
        entry->is_folder = true;
    }
    entry->round = etc->round;
    return true;
}

static bool refresh_path(struct sandbox_etc *etc, const char *path, struct error *err) {
    struct stat status;
    if (stat(path, &status) != 0) {
        if (means_hidden(errno)) {
            return true;
        }
        keep(etc, find(etc, path + strlen(etc->original) + 1));
        return error_set_errno(err, ERROR_INTERNAL, "look at `%s`", path);
    }
    if (!is_for_everybody(&status)) {
        return true;
    }
    return S_ISDIR(status.st_mode) ? refresh_folder(etc, path, err) : refresh_file(etc, path, &status, err);
}

/* What is no longer on the machine. */
static bool remove_gone(struct sandbox_etc *etc, struct error *err) {
    struct error later;
    bool removed = true;
    struct entry *entry = NULL;
    struct entry *next = NULL;
    HASH_ITER(hh, etc->entries, entry, next) {
        if (entry->is_ours || entry->round == etc->round) {
            continue;
        }
        if (copied_folder_remove(&etc->copy, entry->name, entry->is_folder, removed ? err : &later)) {
            forget(etc, entry);
        } else {
            removed = false;
        }
    }
    return removed;
}

/* glob(3) goes on where this returns 0. */
static int on_unread_folder(const char *path, int number) {
    (void)path;
    return !means_hidden(number);
}

bool sandbox_etc_refresh(struct sandbox_etc *etc, struct error *err) {
    glob_t found = {0};
    struct error later;
    bool done = true;
    etc->round++;
    for (size_t i = 0; i < sizeof visible / sizeof *visible; i++) {
        cleanup_free char *pattern = NULL;
        int flags = GLOB_NOSORT | (i == 0 ? 0 : GLOB_APPEND);
        if (asprintf(&pattern, "%s/%s", etc->original, visible[i]) < 0) {
            pattern = NULL;
        }
        int answer = pattern == NULL ? GLOB_NOSPACE : glob(pattern, flags, on_unread_folder, &found);
        if (answer != 0 && answer != GLOB_NOMATCH) {
            globfree(&found);
            return answer == GLOB_NOSPACE ? error_set(err, ERROR_INTERNAL, "out of memory")
                                          : error_set_errno(err, ERROR_INTERNAL, "look for `%s`", pattern);
        }
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        done = refresh_path(etc, found.gl_pathv[i], done ? err : &later) && done;
    }
    globfree(&found);
    return remove_gone(etc, done ? err : &later) && done;
}

/* --- its life ----------------------------------------------------------------------------------------------------- */

static bool write_ours(struct sandbox_etc *etc, const struct sandbox_file *file, struct error *err) {
    struct entry *entry =
        copied_folder_write(&etc->copy, file->name, file->content, err) ? find_or_add(etc, file->name, err) : NULL;
    if (entry != NULL) {
        entry->is_ours = true;
    }
    return entry != NULL;
}

static bool is_known(void *argument, const char *name) {
    return find(argument, name) != NULL;
}

static bool fill(struct sandbox_etc *etc, const struct sandbox_file *files, size_t count, struct error *err) {
    for (size_t i = 0; i < count; i++) {
        if (!write_ours(etc, &files[i], err)) {
            return false;
        }
    }
    return sandbox_etc_refresh(etc, err) && copied_folder_keep_only(&etc->copy, is_known, etc, err);
}

struct sandbox_etc *sandbox_etc_open(const char *folder, const char *original, const struct sandbox_file *files,
                                     size_t count, struct error *err) {
    struct sandbox_etc *etc = calloc(1, sizeof *etc);
    if (etc == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    *etc = (struct sandbox_etc){.original = strdup(original), .copy = {.parent_fd = -1, .fd = -1}};
    bool opened = etc->original != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
    if (!opened || !copied_folder_open(&etc->copy, folder, COPY_FOLDER, err) || !fill(etc, files, count, err)) {
        sandbox_etc_close(etc);
        return NULL;
    }
    return etc;
}

void sandbox_etc_close(struct sandbox_etc *etc) {
    if (etc == NULL) {
        return;
    }
    struct entry *entry = NULL;
    struct entry *next = NULL;
    HASH_ITER(hh, etc->entries, entry, next) {
        forget(etc, entry);
    }
    copied_folder_close(&etc->copy);
    free(etc->original);
    free(etc);
}

void sandbox_etc_add_mounts(const struct sandbox_etc *etc, struct string_list *arguments) {
    string_list_add(arguments, "--ro-bind", etc->copy.path, "/etc");
    for (const struct entry *entry = etc->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->is_folder) {
            string_list_add(arguments, "--ro-bind-try");
            string_list_add_format(arguments, "%s/%s", etc->original, entry->name);
            string_list_add_format(arguments, "/etc/%s", entry->name);
        }
    }
}
