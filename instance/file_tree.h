/* file_tree.h - whole folders: made, removed and moved, however deep, with a bounded number of descriptors.
 *
 * Errors are as error_set_path() makes them. Thread-safe; may take long on a big tree. */
#ifndef TERMINALS_INSTANCE_FILE_TREE_H
#define TERMINALS_INSTANCE_FILE_TREE_H

#include <stdbool.h>

#include "common/error.h"

/* Makes a folder and those above it that are missing. Fine if it is there already. */
bool folder_make(const char *path, struct error *err);

/* Removes a file, a symbolic link (never what it leads to), or a folder with all that is in it. Stops at the first
 * thing that cannot be removed. */
bool tree_remove(const char *path, struct error *err);

/* Renames `source` to `destination`, which must not exist (ERROR_CONFLICT). Between file systems it is copied (files,
 * folders, symbolic links, permissions, times; nothing else: ERROR_INVALID) under a hidden name, renamed, and only then
 * removed at the source. */
bool tree_move(const char *source, const char *destination, struct error *err);

/* True if removing or moving `path` would take `home`, or a folder above it, along: found by what they are on disk, not
 * by their names. */
bool tree_holds(const char *path, const char *home);

#endif
