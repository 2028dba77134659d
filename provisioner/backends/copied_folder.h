/* copied_folder.h - a folder of copies that others read while it changes: a file is written beside the folder and
 * renamed into its place, so that nobody ever sees half of one.
 *
 * Names are paths below the folder; the folders on the way are made. Nothing is synced: after a crash whoever owns the
 * folder copies all of it anew, and keeps only what belongs there. One writer. Errors are ERROR_INTERNAL
 * and leave what was there. Not thread-safe. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_COPIED_FOLDER_H
#define TERMINALS_PROVISIONER_BACKENDS_COPIED_FOLDER_H

#include <stdbool.h>

#include "common/error.h"

struct copied_folder {
    char *path;
    char *next; /* the file that is being written, beside it */
    int parent_fd;
    int fd;
};

/* Makes `<parent>/<name>` if it is not there. After false no close is needed. */
bool copied_folder_open(struct copied_folder *folder, const char *parent, const char *name, struct error *err);

/* The folder stays. */
void copied_folder_close(struct copied_folder *folder);

/* A file with this content. An empty folder may be in its place. */
bool copied_folder_write(const struct copied_folder *folder, const char *name, const char *content, struct error *err);

/* A file with what can be read from `from` on. */
bool copied_folder_copy(const struct copied_folder *folder, const char *name, int from, struct error *err);

/* A folder, over which something can be mounted. A file may be in its place. */
bool copied_folder_make_empty(const struct copied_folder *folder, const char *name, struct error *err);

/* A file or an empty folder; what is not there is removed. */
bool copied_folder_remove(const struct copied_folder *folder, const char *name, bool is_folder, struct error *err);

/* Removes all that does not belong, but the folders that hold what does. */
bool copied_folder_keep_only(const struct copied_folder *folder, bool (*belongs)(void *argument, const char *name),
                             void *argument, struct error *err);

#endif
