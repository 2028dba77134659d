/* home_mount.h - mounts a folder of ours inside a mount namespace that runs already: how a warm instance gets the home
 * of the user to whom it is handed.
 *
 * The folder becomes a mount of its own, attached nowhere (open_tree(2)), and a child of ours that has entered the
 * other namespace (setns(2)) attaches it there (move_mount(2)): nothing is ever mounted where we are, so that nothing
 * is left when we are killed, and the instance never sees more than that one folder. Root needs no more. An ordinary
 * user can do the same with namespaces that are his own, as a bubblewrap sandbox's are, with a grandchild in a user
 * namespace that clones the mount. Linux 5.12 or later. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_HOME_MOUNT_H
#define TERMINALS_PROVISIONER_BACKENDS_HOME_MOUNT_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

#define HOME_MOUNT_TIMEOUT_MS 5000

struct home_mount;

struct home_mount_request {
    pid_t pid; /* of a process in the namespace */
    int pidfd; /* which it must be; borrowed during the call */
    const char *source;
    const char *target; /* as the namespace names it */
    bool is_restricted; /* nosuid, nodev */
};

/* `err` is NULL when it is mounted. */
typedef void home_mount_done(void *argument, const struct error *err);

/* Whether this account may make such mounts of what lies in `folder`. */
bool home_mount_is_possible(const char *folder);

/* Calls `done` once, later, unless cancelled before. NULL with *err. */
struct home_mount *home_mount_start(struct event_base *base, const struct home_mount_request *request,
                                    home_mount_done *done, void *argument, struct error *err);

/* Not after `done`. What is under way is ended. NULL is fine. */
void home_mount_cancel(struct home_mount *mount);

#endif
