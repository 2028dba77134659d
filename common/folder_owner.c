#include "common/folder_owner.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

bool folder_owner_give(const char *path, struct error *err) {
    if (geteuid() != 0) {
        return true;
    }
    const char *slash = strrchr(path, '/');
    cleanup_free char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path + 1));
    if (folder == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct stat owner;
    struct stat own;
    if (stat(folder, &owner) != 0 || lstat(path, &own) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "look at `%s`", path);
    }
    if (owner.st_uid == own.st_uid && owner.st_gid == own.st_gid) {
        return true; /* so that a root without CAP_CHOWN may do without it here */
    }
    return lchown(path, owner.st_uid, owner.st_gid) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, "give `%s` to the owner of its folder", path);
}
