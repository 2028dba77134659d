/* temporary_folder.h - a folder of its own for each test, removed with everything in it. */
#ifndef TERMINALS_TESTS_TEMPORARY_FOLDER_H
#define TERMINALS_TESTS_TEMPORARY_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int remove_one(const char *path, const struct stat *status, int type, struct FTW *position) {
    (void)status;
    (void)type;
    (void)position;
    return remove(path);
}

static inline void temporary_folder_make(char path[64]) {
    strcpy(path, "/tmp/terminals-test-XXXXXX");
    if (mkdtemp(path) == NULL) {
        abort();
    }
}

static inline void temporary_folder_remove(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
