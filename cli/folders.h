/* folders.h - paths in folders, and the folders that must be there before anything starts. Any thread. */
#ifndef TERMINALS_CLI_FOLDERS_H
#define TERMINALS_CLI_FOLDERS_H

#include "common/error.h"

/* Makes a folder and what leads to it (mkdir -p), new ones with mode 0700. One that is there stays as it is. */
bool folders_make(const char *path, struct error *err);

/* The same for the folder that `file` is in. */
bool folders_make_parent(const char *file, struct error *err);

/* "<folder>/<name>". The caller frees; NULL with *err: no memory. */
char *folders_path(const char *folder, const char *name, struct error *err);

#endif
