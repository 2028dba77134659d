/* file_walk.h - goes through all that lies below a folder, a folder's own entries before those of its subfolders, each
 * in the order of their names. Symbolic links are followed to tell what they are, and never descended into.
 * Thread-safe.
 */
#ifndef TERMINALS_INSTANCE_FILE_WALK_H
#define TERMINALS_INSTANCE_FILE_WALK_H

#include <stdbool.h>
#include <sys/stat.h>

struct file_walk_entry {
    const char *name;
    const char *relative;      /* to the root of the walk */
    const char *path;          /* absolute */
    const struct stat *status; /* of what it is behind symbolic links */
};

enum file_walk_step {
    FILE_WALK_ON,
    FILE_WALK_SKIP, /* not into this folder */
    FILE_WALK_STOP,
};

/* Calls `visit` for every entry that can be looked at. What cannot be read (for lack of permission, because it is gone
 * by now, or because its path is too long) is left out. False only when memory ran out. */
bool file_walk(const char *root, enum file_walk_step (*visit)(void *state, const struct file_walk_entry *entry),
               void *state);

#endif
