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
#include "provisioner/removals.h"

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

/* A purge in two steps, for who must know after being killed whether the first was made. Putting away moves that folder
 * to `.trash/<mark>/`, at once and whole or not at all; where something was put away under this mark before, nothing is
 * moved. `mark` is a plain name of HOME_FOLDER_MARK_MAX_BYTES at most. HOME_FOLDER_ABSENT: there was no folder. */
#define HOME_FOLDER_MARK_MAX_BYTES REMOVALS_NAME_MAX_BYTES
enum home_folder_put { HOME_FOLDER_FAILED, HOME_FOLDER_ABSENT, HOME_FOLDER_PUT_AWAY };
enum home_folder_put home_folder_put_away(struct home_folders *folders, const char *user_id, const char *policy_id,
                                          const char *context_id, const char *mark, struct error *err);
bool home_folder_is_put_away(const struct home_folders *folders, const char *mark);

/* The same with a folder's path below the data folder, two slashes at most, no component of it a link. */
enum home_folder_put home_folder_put_path_away(struct home_folders *folders, const char *relative, const char *mark,
                                               struct error *err);

/* The second step: removes what was put away, as home_folder_purge() does. Until then, or the next
 * home_folders_empty_trash(), it stays there. */
void home_folder_discard(struct home_folders *folders, const char *mark,
                         void (*done)(void *argument, const struct error *err), void *argument);

/* Calls `each` for the marks under which something is put away, until it returns false (which is then the result). */
bool home_folders_each_put_away(const struct home_folders *folders,
                                bool (*each)(void *argument, const char *mark, struct error *err), void *argument,
                                struct error *err);

/* Whether this folder of the trash is being removed, or waits for its turn. */
bool home_folder_is_being_discarded(const struct home_folders *folders, const char *mark);

/* Removes what earlier purges did not finish, and what was put away. */
void home_folders_empty_trash(struct home_folders *folders);

#endif
