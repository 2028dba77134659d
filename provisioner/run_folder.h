/* run_folder.h - the folders the provisioner lives in. */
#ifndef TERMINALS_PROVISIONER_RUN_FOLDER_H
#define TERMINALS_PROVISIONER_RUN_FOLDER_H

#include <stdbool.h>

#include "common/error.h"

/* Creates a folder (0700) and what is missing above it; one that exists stays as it is. */
bool run_folder_create(const char *path, struct error *err);

/* Creates the run folder and locks it: two provisioners on one folder would fight over its maps and its instances. The
 * lock lives as long as the returned descriptor. -1 with *err, which says whose it is. */
int run_folder_lock(const char *path, struct error *err);

#endif
