#include "provisioner/backends/docker_home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

#define STOCK_USER 1000 /* `user` in the stock image and in ours */

/* A number, or what it is without one. */
static unsigned take_number(const char *text, unsigned fallback) {
    char *end = NULL;
    errno = 0;
    unsigned long number = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    return end != NULL && errno == 0 && (*end == '\0' || *end == ':') && number < 0xffffffffUL ? (unsigned)number
                                                                                               : fallback;
}

void docker_home_owner(const char *user, uid_t *uid, gid_t *gid) {
    bool is_root = user[0] == '\0' || strcmp(user, "root") == 0 || strncmp(user, "root:", 5) == 0;
    *uid = is_root ? 0 : take_number(user, STOCK_USER);
    const char *colon = strchr(user, ':');
    *gid = colon == NULL ? *uid : take_number(colon + 1, *uid);
}

bool docker_home_give(const char *home, uid_t uid, gid_t gid, bool *opened, struct error *err) {
    struct stat status;
    *opened = false;
    cleanup_close int fd = open(home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) {
        return error_set_errno(err, ERROR_BACKEND, "open the home folder `%s`", home);
    }
    if (status.st_uid == uid || uid == 0) {
        return true; /* root may write anywhere */
    }
    if (fchown(fd, uid, gid) == 0) {
        return true;
    }
    if (errno != EPERM || (status.st_mode & 0777) == 0777) {
        return errno == EPERM || error_set_errno(err, ERROR_BACKEND, "give the home folder `%s` to user %u", home, uid);
    }
    *opened = fchmod(fd, 0777) == 0;
    return *opened || error_set_errno(err, ERROR_BACKEND, "let user %u write in the home folder `%s`", uid, home);
}
