/* program.h - finding the programs the local backend runs. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_PROGRAM_H
#define TERMINALS_PROVISIONER_BACKENDS_PROGRAM_H

#include <stdbool.h>

#include "common/error.h"

/* The absolute path of an executable file: `name` itself if it has a slash, else as found in the folder of our own
 * program, then in PATH. NULL: there is none (or no memory). The caller frees it. */
char *program_find(const char *name);

/* Whether `path`, from program_find(), is the native program `name` beside our own, and no script that something else
 * has put there: programs in one folder are built, and replaced, together. */
bool program_is_ours(const char *path, const char *name);

/* What a script needs besides itself and /usr: if `path` starts with `#!` and its interpreter is that of a Python
 * virtual environment elsewhere, that environment's folder, which the caller frees; else NULL. False with ERROR_BACKEND
 * if its interpreter is elsewhere without being that: there is no telling what it would need. */
bool program_interpreter_folder(const char *path, char **folder, struct error *err);

#endif
