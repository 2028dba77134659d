/* files_path.h - a path that a client sent, made absolute. Thread-safe. */
#ifndef TERMINALS_INSTANCE_FILES_PATH_H
#define TERMINALS_INSTANCE_FILES_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* Makes `path` absolute: it starts at `base` unless it starts with '/'; a first segment `~` is `home`; `.`, `..` and
 * repeated slashes are resolved by their names alone, as Python's os.path.abspath() does, so `..` behind a symbolic
 * link leads to the folder that holds the link. Characters that stand for bytes (utf8.h) become those bytes. "" is
 * `base`. `base` and `home` are absolute and clean. The caller frees the result. NULL: ERROR_INVALID for a NUL byte,
 * ERROR_INTERNAL for no memory. Nothing is looked up on disk. */
char *path_resolve(const char *base, const char *home, const char *path, size_t length, struct error *err);

/* The part behind the last slash, borrowed; "" for "/". */
const char *path_name(const char *absolute);

/* The part before it, for the caller to free; "/" for what lies in the root. NULL: no memory. */
char *path_folder(const char *absolute);

/* `folder`/`name`, for the caller to free. NULL: no memory. */
char *path_join(const char *folder, const char *name);

/* Fills `name` with a hidden name that nobody else uses, for a file on its way to its place. False: no random bytes. */
#define PATH_TEMPORARY_NAME_SIZE 48
bool path_temporary_name(char name[PATH_TEMPORARY_NAME_SIZE]);

/* True if `path` is `folder` or lies below it, by their names. */
bool path_is_within(const char *path, const char *folder);

#endif
