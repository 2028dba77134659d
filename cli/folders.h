/* folders.h - the folders that must be there before anything starts. */
#ifndef TERMINALS_CLI_FOLDERS_H
#define TERMINALS_CLI_FOLDERS_H

#include "common/error.h"

/* Makes a folder and what leads to it (mkdir -p), new ones with mode 0700. One that is there stays as it is. */
bool folders_make(const char *path, struct error *err);

/* The same for the folder that `file` is in. */
bool folders_make_parent(const char *file, struct error *err);

#endif
