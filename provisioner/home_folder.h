/* home_folder.h - users' folders below TERMINALS_DATA_DIR: made, and on request removed.
 *
 * What lies in a home was put there by its user, so nothing here follows a link or trusts a name. A purge first renames
 * the folder into `.trash/` (no user's folder starts with a dot), which is atomic; what a killed provisioner left there
 * is removed by its successor. */
#ifndef TERMINALS_PROVISIONER_HOME_FOLDER_H
#define TERMINALS_PROVISIONER_HOME_FOLDER_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/error.h"

struct home_folders;

/* Creates the data folder (0700) if need be. `base` is where the ends of removals are reported. NULL with *err. */
struct home_folders *home_folders_open(const char *data_dir, struct event_base *base, struct error *err);

/* Waits for a removal under way to notice, and frees. Its `done` is not called any more. */
void home_folders_close(struct home_folders *folders);

/* Makes the folder of (user, policy, context), every component 0700 and none of them a symbolic link. Returns its
 * absolute path for the caller to free; NULL with *err. */
char *home_folder_create(struct home_folders *folders, const char *user_id, const char *policy_id,
                         const char *context_id, struct error *err);

/* Removes that folder and everything in it, on a thread of its own, and calls `done` on the event loop (perhaps before
 * this returns, when there is nothing to remove). A mount inside stays, and is an error. `err` is NULL on success. */
void home_folder_purge(struct home_folders *folders, const char *user_id, const char *policy_id, const char *context_id,
                       void (*done)(void *argument, const struct error *err), void *argument);

/* Removes what earlier purges did not finish. */
void home_folders_empty_trash(struct home_folders *folders);

#endif
