/* docker_home.h - makes a user's folder one in which the user of the image can write. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_HOME_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_HOME_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

/* Who will write: the number in `user` ("1000", "1000:100"), which is what a policy wants or what the image says; a
 * name is 1000, as in the stock image; "" is root. */
void docker_home_owner(const char *user, uid_t *uid, gid_t *gid);

/* Gives the folder itself to that user, if it is not theirs yet; what is in it stays as it is. Where we may not (we are
 * not root), it is opened for all (the data folder above it lets nobody through). *opened says whether that happened.
 * False with *err. */
bool docker_home_give(const char *home, uid_t uid, gid_t gid, bool *opened, struct error *err);

#endif
