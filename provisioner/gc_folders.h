/* gc_folders.h - the folders of the data folder that may be left over, for gc.c. */
#ifndef TERMINALS_PROVISIONER_GC_FOLDERS_H
#define TERMINALS_PROVISIONER_GC_FOLDERS_H

#include "common/error.h"

enum gc_folder_kind {
    GC_FOLDER_HOME,     /* `<user>`, `.policies/<user>/<policy>`, `.contexts/<user>/<context>` (names.h) */
    GC_FOLDER_TRASH,    /* `.trash/<mark>` (home_folder.h) */
    GC_FOLDER_WARM,     /* `.warm/<instance id>` of the backend `local` */
    GC_FOLDER_REPLACED, /* `.replaced-<time>`, what `terminals restore` put aside */
};

/* Calls `each` with every one that there is, whoever owns it, until it returns false (which is then the result). `name`
 * is the path below the data folder. No link is followed. */
bool gc_folders_each(const char *data_dir,
                     bool (*each)(void *argument, enum gc_folder_kind kind, const char *name, struct error *err),
                     void *argument, struct error *err);

#endif
