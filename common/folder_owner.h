/* folder_owner.h - lets processes that run as different users share a run folder.
 *
 * In the compose stack terminals-provisioner is root in its container (it needs the engine's socket), all others are
 * one ordinary user, to whom the run folder belongs. What root makes there has to be that user's, since all of it is
 * 0600. */
#ifndef TERMINALS_COMMON_FOLDER_OWNER_H
#define TERMINALS_COMMON_FOLDER_OWNER_H

#include "common/error.h"

/* If we are root: `path`, just made by us, becomes its folder's owner's and group's. Otherwise it stays as it is.
 * Follows no link. */
bool folder_owner_give(const char *path, struct error *err);

#endif
